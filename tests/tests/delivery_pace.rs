//! How fast: one bucket for all processes, one message a second and chat, nobody refused; and what must not slow it down.
#![allow(clippy::unwrap_used)]

mod delivery_support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery_support::hooked::{Hooked, nothing};
use delivery_support::sim_clock::SimClock;
use delivery_support::{DAY, NOW, Outbox, PlainTexts, SECOND, about, budget, messenger_by, notice, open, settings};
use perennial_core::delivery::{DeliverySummary, deliver};
use perennial_core::time::Clock;
use perennial_testkit::db_test;
use perennial_testkit::fake_telegram::Received;
use serde_json::json;

/// The most messages in any second.
fn busiest_second(messages: &[Received]) -> usize {
    let times: Vec<Duration> = messages.iter().map(|message| message.at).collect();
    let in_second = |from: &Duration| times.iter().filter(|at| *at >= from && **at < *from + SECOND).count();
    times.iter().map(in_second).max().unwrap_or(0)
}

/// The shortest time between two messages to one chat.
fn closest_in_a_chat(messages: &[Received]) -> Duration {
    let mut last: HashMap<i64, Duration> = HashMap::new();
    let gaps = messages.iter().filter_map(|message| {
        let before = last.insert(message.chat_id, message.at);
        before.map(|before| message.at - before)
    });
    gaps.min().unwrap_or(Duration::MAX)
}

#[test]
fn ten_thousand_notices_by_two_deliverers_at_once_none_lost_none_doubled_none_refused() {
    db_test(async |db| {
        let outbox = Outbox::new(db.clone()).await;
        // Nine thousand chats, a thousand of them with two notices in a row: endings and reminders mixed.
        outbox
            .execute(
                "INSERT INTO notices (telegram_id, kind, dedupe_key, not_before)
                 SELECT 1 + i - i / 10, (ARRAY['trial_over', 'subscription_over', 'news'])[1 + i % 3], 'key:' || i,
                     timestamptz '2026-03-10 11:00+00' + i * interval '1 ms'
                 FROM generate_series(0, 9999) i",
            )
            .await;
        let clock = SimClock::of(2, NOW);
        let messenger = messenger_by(clock.clone());
        let deliverer = async |clock: Arc<SimClock>| {
            let (db, deadline, mut summary) = (open(&db, clock.clone()), budget(), DeliverySummary::default());
            deliver(&db, &messenger, &PlainTexts, &settings(), &deadline, &mut summary).await.unwrap();
            clock.leave();
            summary
        };
        let (one, other) = tokio::join!(deliverer(clock.clone()), deliverer(clock.clone()));
        let messages = messenger.messages();
        assert_eq!(messages.len(), 10_000);
        assert_eq!((one.sent + other.sent, messenger.calls(), messenger.throttled()), (10_000, 10_000, 0));
        assert_eq!((outbox.count("sent").await, outbox.number("SELECT max(attempts) FROM notices").await), (10_000, 1));
        let (busiest, closest) = (busiest_second(&messages), closest_in_a_chat(&messages));
        let took = clock.now() - NOW;
        println!(
            "sent {} and {}, at most {busiest} a second, closest in a chat {closest:?}, took {took}",
            one.sent, other.sent
        );
        assert!(busiest <= 25, "{busiest} in one second");
        assert!(closest >= SECOND, "{closest:?}");
        assert!(took < Duration::from_secs(402), "the bucket ran dry: {took}");
        assert!(one.sent > 3_000 && other.sent > 3_000, "both had their share");
    });
}

#[test]
fn a_chat_gets_one_message_a_second_and_holds_up_no_other() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for _ in 0..8 {
            outbox.ending(1).await;
        }
        for chat in 2..=5 {
            outbox.ending(chat).await;
        }
        assert_eq!(outbox.deliver().await.sent, 12);
        let messages = outbox.messenger.messages();
        assert!(closest_in_a_chat(&messages) >= SECOND);
        assert_eq!(outbox.messenger.throttled(), 0);
        let others = messages.iter().filter(|message| message.chat_id > 1).map(|message| message.at);
        assert!(others.max().unwrap() < SECOND, "the others waited");
    });
}

#[test]
fn a_chat_with_a_message_under_way_is_not_written_to_by_another_process() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let first = outbox.ending(1).await;
        outbox.ending(1).await;
        outbox
            .execute(&format!(
                "UPDATE notices SET status = 'sending', attempts = 1, lease_until = '{}' WHERE id = {first}",
                NOW + DAY
            ))
            .await;
        assert_eq!(outbox.deliver().await.sent, 0);
        assert_eq!(outbox.messenger.calls(), 0);
    });
}

#[test]
fn texts_that_cannot_be_written_are_dead_and_cost_nobody_a_message() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for chat in 1..=60 {
            outbox.write(notice(chat, "broken")).await;
        }
        let good = outbox.ending(100).await;
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dead, summary.first_dead.len()), (1, 60, 10));
        assert_eq!(outbox.state(good).await.0, "sent");
        assert_eq!(outbox.number("SELECT count(*) FROM notices WHERE last_error = 'text: no such text'").await, 60);
        assert_eq!(outbox.messenger.messages()[0].at, Duration::ZERO, "no slot was taken for them");
    });
}

#[test]
fn dropped_notices_take_no_slots() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        outbox.users(200).await;
        outbox.execute("UPDATE users SET telegram_unreachable_since = now()").await;
        for chat in 1..=200 {
            outbox.ending(chat).await;
        }
        outbox.ending(1_000).await;
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dropped), (1, 200));
        assert_eq!(outbox.messenger.messages()[0].at, Duration::ZERO);
    });
}

#[test]
fn a_time_zone_that_is_gone_costs_its_own_notice_and_no_other() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        outbox.users(30).await;
        // As after an upgrade of the zone files: the check was passed years ago.
        outbox.execute("ALTER TABLE users DROP CONSTRAINT users_time_zone_exists").await;
        outbox.execute("UPDATE users SET time_zone = 'US/Pacific-New' WHERE telegram_id = 7").await;
        for chat in 1..=30 {
            outbox.ending(chat).await;
        }
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dead), (29, 1));
        assert_eq!(summary.first_dead[0].chat.0, 7);
        assert!(summary.first_dead[0].reason.contains("US/Pacific-New"), "{summary:?}");
    });
}

#[test]
fn a_default_time_zone_that_is_none_stops_delivery_and_kills_nothing() {
    db_test(async |db| {
        let mut outbox = Outbox::new(db).await;
        outbox.settings.claim.default_time_zone = "Europe/Moskau".to_owned();
        outbox.ending(1).await;
        let summary = outbox.deliver().await;
        assert!(summary.warnings[0].contains("the default time zone cannot be used"), "{summary:?}");
        assert_eq!((outbox.count("pending").await, outbox.messenger.calls()), (1, 0));
    });
}

#[test]
fn who_was_held_up_gives_its_messages_back_instead_of_sending_into_the_slots_of_others() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for chat in 1..=60 {
            outbox.ending(chat).await;
        }
        // The machine stands still for five seconds in the middle of a batch.
        let clock = &outbox.clock;
        let stall = |message: &perennial_core::ports::Message| -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
            let is_the_one = message.chat_id == 12;
            Box::pin(async move {
                if is_the_one {
                    clock.advance(SECOND * 5);
                }
            })
        };
        let summary = outbox.deliver_by(&Hooked { messenger: &outbox.messenger, before: nothing, after: stall }).await;
        assert_eq!((summary.sent, outbox.number("SELECT max(attempts) FROM notices").await), (60, 1));
        assert!(busiest_second(&outbox.messenger.messages()) <= 25);
        assert_eq!(outbox.messenger.throttled(), 0);
    });
}

#[test]
fn claims_that_take_long_are_made_earlier_until_they_fit() {
    db_test(async |db| {
        let outbox = Outbox::new(db.clone()).await;
        for chat in 1..=30 {
            outbox.ending(chat).await;
        }
        // Every transaction takes 150 ms by the clock: longer than a message may be late.
        let clock = Arc::new(SlowClock(outbox.clock.clone()));
        let (database, deadline, mut summary) = (open(&db, clock), budget(), DeliverySummary::default());
        deliver(&database, &outbox.messenger, &PlainTexts, &settings(), &deadline, &mut summary).await.unwrap();
        assert_eq!(summary.sent, 30);
    });
}

/// Goes on 150 ms with each transaction.
struct SlowClock(Arc<perennial_testkit::TestClock>);

impl Clock for SlowClock {
    fn now(&self) -> perennial_core::time::Timestamp {
        self.0.now()
    }

    fn anchor(&self, _: perennial_core::time::Timestamp) {
        self.0.advance(Duration::from_millis(150));
    }

    fn sleep_until(&self, at: perennial_core::time::Timestamp) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
        self.0.sleep_until(at)
    }
}

#[test]
fn the_longest_due_goes_first() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for chat in (1..=20).rev() {
            outbox.write(about(chat, "news", None, json!({}))).await;
        }
        outbox.execute("UPDATE notices SET not_before = not_before - telegram_id * interval '1 s'").await;
        drop(outbox.deliver().await);
        assert_eq!(outbox.chats(), (1..=20).rev().collect::<Vec<_>>());
    });
}
