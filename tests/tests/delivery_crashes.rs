//! A process that vanishes between claim and record: what is lost, what comes twice, and that both are counted.
#![allow(clippy::unwrap_used)]

mod delivery_support;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use delivery_support::hooked::{Hooked, nothing};
use delivery_support::{MINUTE, NOW, Outbox, PlainTexts, SECOND, budget, messenger_by, notice};
use perennial_core::delivery::{AT_LEAST_ONCE, DeliverySummary, MAX_ATTEMPTS, deliver};
use perennial_core::ports::Message;
use perennial_testkit::{db_test, db_test_unchecked};
use tokio_postgres::types::Type;

/// Rounds of the long test.
const KILLS: u64 = 200;

/// Leaves a notice as a vanished sender does; `begun`: it may have been sent.
async fn vanished(outbox: &Outbox, id: i64, begun: bool, attempts: i32) {
    let sent_at = if begun { "now()" } else { "NULL" };
    let lease = NOW + SECOND;
    let sql = format!(
        "UPDATE notices SET status = 'sending', attempts = {attempts}, lease_until = '{lease}', sent_at = {sent_at}
         WHERE id = {id}"
    );
    outbox.execute(&sql).await;
}

#[test]
fn a_lease_that_is_over_sends_again_what_must_arrive_and_drops_reminders() {
    db_test_unchecked(async |db| {
        let outbox = Outbox::new(db).await;
        let mut must_arrive = Vec::new();
        for (kind, chat) in AT_LEAST_ONCE.iter().zip(1..) {
            let id = outbox.write(notice(chat, kind)).await;
            vanished(&outbox, id, true, 1).await;
            must_arrive.push(id);
        }
        let reminder = outbox.reminder(100).await;
        vanished(&outbox, reminder, true, 1).await;
        let not_begun = outbox.reminder(101).await;
        vanished(&outbox, not_begun, false, 1).await;

        assert_eq!(outbox.deliver().await, DeliverySummary::default(), "the lease is not over");
        outbox.clock.set(NOW + SECOND);
        let summary = outbox.deliver().await;
        let expected = AT_LEAST_ONCE.len() as u64;
        assert_eq!((summary.sent, summary.maybe_doubled), (expected + 1, expected));
        assert_eq!((summary.dropped, summary.maybe_lost), (1, 1));
        for id in must_arrive {
            assert_eq!(outbox.state(id).await.1, 2, "both attempts count");
        }
        let (status, _, why) = outbox.state(reminder).await;
        assert_eq!((status.as_str(), why.as_str()), ("dropped", "its sender vanished: sent or not"));
        assert_eq!((outbox.status(not_begun).await, outbox.state(not_begun).await.1), ("sent".to_owned(), 1));
    });
}

#[test]
fn a_notice_whose_senders_vanish_again_and_again_is_dead_at_the_limit() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = outbox.ending(1).await;
        vanished(&outbox, id, true, MAX_ATTEMPTS).await;
        outbox.clock.set(NOW + SECOND);
        let summary = outbox.deliver().await;
        assert_eq!((summary.dead, summary.sent, summary.first_dead.len()), (1, 0, 1));
        assert_eq!(outbox.status(id).await, "dead");
    });
}

#[test]
fn an_answer_that_comes_after_the_lease_changes_nothing_that_others_did_since() {
    db_test(async |db| {
        let outbox = Outbox::new(db.clone()).await;
        let id = outbox.ending(1).await;
        let client = db.client().await;
        let taken_over = |_: &Message| -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
            Box::pin(async {
                // Another process ended the lease and has the notice now.
                let sql = "UPDATE notices SET attempts = 2, lease_until = lease_until + interval '1 h'";
                client.batch_execute(sql).await.unwrap();
            })
        };
        let hooked = Hooked { messenger: &outbox.messenger, before: nothing, after: taken_over };
        let summary = outbox.deliver_by(&hooked).await;
        assert_eq!(summary.sent, 0, "what is not recorded is not counted");
        assert_eq!(outbox.state(id).await, ("sending".to_owned(), 2, String::new()));
    });
}

#[test]
fn a_message_whose_lease_was_taken_over_before_it_left_is_not_sent() {
    db_test(async |db| {
        let outbox = Outbox::new(db.clone()).await;
        for chat in 1..=20 {
            outbox.ending(chat).await;
        }
        let client = db.client().await;
        let taken_over = |message: &Message| -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
            let is_first = message.chat_id == 2;
            let client = &client;
            Box::pin(async move {
                if is_first {
                    let sql = "UPDATE notices SET lease_until = lease_until + interval '1 h' WHERE telegram_id = 15";
                    client.batch_execute(sql).await.unwrap();
                }
            })
        };
        let hooked = Hooked { messenger: &outbox.messenger, before: taken_over, after: nothing };
        assert_eq!(outbox.deliver_by(&hooked).await.sent, 19);
        assert!(outbox.messenger.messages_of(15).is_empty());
    });
}

/// Runs a future and drops it after so many polls, as a SIGKILL would; answers whether it was still under way.
async fn killed_after(polls: u64, work: impl Future) -> bool {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(true);
        }
        left -= 1;
        work.as_mut().poll(cx).map(|_| false)
    })
    .await
}

/// Twelve notices a round: half of them reminders, the rest of the kinds that must arrive.
const ROUND: &str = "
    INSERT INTO notices (telegram_id, kind, dedupe_key, not_before)
    SELECT 1000000 * $ROUND + i, (ARRAY['renewed', 'news', 'trial_over', 'news', 'subscription_over', 'news'])[1 + i % 6],
        concat_ws(':', $ROUND, i), '$NOW'
    FROM generate_series(1, 12) i";

#[test]
fn two_hundred_kills_lose_no_receipt_and_no_ending_and_at_most_the_reminders_under_way() {
    db_test_unchecked(async |db| {
        let outbox = Outbox::new(db).await;
        let (texts, settings) = (&PlainTexts, &outbox.settings);
        let mut random = 0x9e37_79b9_u64;
        let (mut rounds, mut killed, mut lost, mut doubled, mut told) = (0_i64, 0, 0, 0, (0, 0));
        while killed < KILLS {
            rounds += 1;
            let round = ROUND.replace("$ROUND", &rounds.to_string()).replace("$NOW", &outbox.now().to_string());
            outbox.execute(&round).await;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // A process of its own each time, as after a kill, and a server that counts from nothing.
            let messenger = messenger_by(outbox.clock.clone());
            let (db, deadline, mut summary) = (outbox.open(), budget(), DeliverySummary::default());
            let delivery = deliver(&db, &messenger, texts, settings, &deadline, &mut summary);
            killed += u64::from(killed_after(1 + (random >> 33) % 130, delivery).await);
            outbox.advance(MINUTE).await;
            let after = outbox.deliver_by(&messenger).await;
            told = (told.0 + after.maybe_lost, told.1 + after.maybe_doubled);

            let mut arrived: HashMap<i64, usize> = HashMap::new();
            for message in messenger.messages() {
                *arrived.entry(message.chat_id).or_default() += 1;
            }
            let sql = "SELECT telegram_id, kind, status FROM notices WHERE telegram_id / 1000000 = $1";
            let rows = outbox.client.query_typed(sql, &[(&rounds, Type::INT8)]).await.unwrap();
            let mut lost_now = 0;
            for row in &rows {
                let (chat, kind, status): (i64, &str, &str) = (row.get(0), row.get(1), row.get(2));
                let arrived = arrived.get(&chat).copied().unwrap_or(0);
                if kind == "news" {
                    assert!(arrived <= 1, "round {rounds}: a reminder came {arrived} times");
                    assert!(status == "sent" || status == "dropped", "round {rounds}: {status}");
                    lost_now += usize::from(arrived == 0);
                } else {
                    assert_eq!(status, "sent", "round {rounds}: {kind}");
                    assert!((1..=2).contains(&arrived), "round {rounds}: {kind} came {arrived} times");
                    doubled += arrived - 1;
                }
            }
            assert!(lost_now <= 6, "round {rounds}: {lost_now} reminders lost");
            lost += lost_now;
        }
        println!(
            "{rounds} rounds of 12 notices, {killed} kills: no receipt or ending lost, {doubled} doubled ({} said so), \
             {lost} reminders lost ({} said so)",
            told.1, told.0
        );
        assert!(doubled > 0 && lost > 0, "the kills met nothing");
        assert!(told.0 >= lost as u64 && told.1 >= doubled as u64, "more was lost or doubled than was counted");
    });
}
