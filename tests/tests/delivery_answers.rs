//! Every answer of a messenger, and what becomes of the notice.
#![allow(clippy::unwrap_used)]

mod delivery_support;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use delivery_support::{HOUR, NOW, Outbox, PlainTexts, SECOND, notice};
use perennial_core::delivery::{DeliverySummary, MAX_ATTEMPTS, deliver};
use perennial_core::time::{Clock, Deadline, Timestamp};
use perennial_testkit::fake_telegram::Fault;
use perennial_testkit::{TestClock, db_test};

fn state(status: &str, attempts: i32, why: &str) -> (String, i32, String) {
    (status.to_owned(), attempts, why.to_owned())
}

#[test]
fn a_sent_notice_is_written_down_with_its_message_and_never_sent_again() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = outbox.ending(1).await;
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dropped, summary.dead, summary.put_back), (1, 0, 0, 0));
        assert_eq!(outbox.state(id).await, state("sent", 1, ""));
        assert_eq!(outbox.time("sent_at", id).await, Some(NOW));
        assert_eq!(outbox.time("lease_until", id).await, None);
        let message = outbox.number(&format!("SELECT message_id FROM notices WHERE id = {id}")).await;
        assert_eq!(message, outbox.messenger.messages()[0].message_id);
        outbox.advance(HOUR).await;
        assert_eq!(outbox.deliver().await.sent, 0);
        assert_eq!(outbox.chats(), [1]);
    });
}

#[test]
fn too_fast_moves_the_shared_bucket_and_gives_the_batch_back_uncounted() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for chat in 1..=20 {
            outbox.ending(chat).await;
        }
        outbox.messenger.fail_call(5, Fault::throttle(70));
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.throttled, summary.put_back), (20, 1, 1));
        assert_eq!(outbox.messenger.calls(), 21, "nobody called while the wait was on, and nothing was sent twice");
        assert_eq!(outbox.messenger.throttled(), 0);
        assert_eq!(outbox.number("SELECT max(attempts) FROM notices").await, 1, "a wait is no attempt");
        let times: Vec<Duration> = outbox.messenger.messages().iter().map(|message| message.at).collect();
        assert!(times[4] >= times[3] + SECOND * 70, "{times:?}");
    });
}

#[test]
fn a_wait_that_one_process_was_told_holds_for_the_next() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = outbox.ending(1).await;
        outbox.messenger.fail_call(1, Fault::throttle(90));
        let (db, mut summary) = (outbox.open(), DeliverySummary::default());
        // A budget that ends before the wait does.
        let deadline = Deadline::after(SECOND * 30);
        let (messenger, settings) = (&outbox.messenger, &outbox.settings);
        deliver(&db, messenger, &PlainTexts, settings, &deadline, &mut summary).await.unwrap();
        assert_eq!((summary.throttled, summary.sent), (1, 0));
        assert_eq!(outbox.state(id).await, state("pending", 0, "throttled for 90 s"));
        assert_eq!(outbox.time("not_before", id).await, Some(NOW + SECOND * 90));
        let other = outbox.ending(2).await;
        assert_eq!(outbox.deliver().await.sent, 2);
        assert_eq!(outbox.messenger.throttled(), 0);
        assert!(outbox.time("sent_at", other).await.unwrap() >= NOW + SECOND * 90, "the bucket is everybody's");
    });
}

#[test]
fn a_stop_ends_a_long_wait_at_once_and_leaves_what_waits() {
    db_test(async |db| {
        let outbox = Outbox::new(db.clone()).await;
        for chat in 1..=3 {
            outbox.ending(chat).await;
        }
        outbox.messenger.fail_call(1, Fault::throttle(90));
        let deadline = delivery_support::budget();
        let clock = Arc::new(StoppingClock { clock: outbox.clock.clone(), deadline: deadline.clone() });
        let (db, mut summary) = (delivery_support::open(&db, clock), DeliverySummary::default());
        let (messenger, settings) = (&outbox.messenger, &outbox.settings);
        deliver(&db, messenger, &PlainTexts, settings, &deadline, &mut summary).await.unwrap();
        assert_eq!((summary.throttled, summary.sent, outbox.count("pending").await), (1, 0, 3));
        assert!(outbox.now() < NOW + SECOND * 3, "{}", outbox.now());
    });
}

/// Somebody asks for a stop as soon as anything waits for longer than a second.
struct StoppingClock {
    clock: Arc<TestClock>,
    deadline: Deadline,
}

impl Clock for StoppingClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn anchor(&self, _: Timestamp) {}

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        if self.now() > NOW || at > NOW + SECOND {
            self.deadline.stop();
        }
        self.clock.sleep_until(at)
    }
}

#[test]
fn a_chat_that_moved_is_written_to_at_its_new_place_and_somebody_is_told() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = outbox.write(notice(-5, "alert_parked")).await;
        outbox.messenger.fail_chat(-5, Fault::moved_to(-100_500));
        let summary = outbox.deliver().await;
        assert_eq!(summary.sent, 1);
        assert_eq!(summary.warnings, ["the chat -5 moved to -100500: correct the setting that names it"]);
        assert_eq!(outbox.chats(), [-100_500]);
        assert_eq!(outbox.state(id).await, state("sent", 2, ""));
        assert_eq!(outbox.number("SELECT telegram_id FROM notices").await, -100_500);
    });
}

#[test]
fn chats_that_point_at_each_other_end_at_the_limit() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = outbox.write(notice(-5, "alert_parked")).await;
        outbox.messenger.fail_chat(-5, Fault::moved_to(-6));
        outbox.messenger.fail_chat(-6, Fault::moved_to(-5));
        assert_eq!(outbox.deliver().await.dead, 1);
        let (status, attempts, _) = outbox.state(id).await;
        assert_eq!((status.as_str(), attempts), ("dead", MAX_ATTEMPTS));
    });
}

#[test]
fn who_cannot_be_reached_is_marked_and_left_alone_until_a_sign_of_life() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        outbox.users(2).await;
        for (fault, _) in
            [Fault::BLOCKED, Fault::DEACTIVATED, Fault::NEVER_STARTED, Fault::CHAT_NOT_FOUND].iter().zip(0..)
        {
            outbox.messenger.fail_chat(1, fault.clone());
            let (first, calls) = (outbox.ending(1).await, outbox.messenger.calls());
            assert_eq!(outbox.deliver().await.dropped, 1);
            let (status, attempts, why) = outbox.state(first).await;
            assert_eq!((status.as_str(), attempts), ("dropped", 1), "{fault:?}");
            assert!(why.starts_with("cannot be reached: "), "{why}");
            let marked = "SELECT count(*) FROM users WHERE telegram_unreachable_since IS NOT NULL";
            assert_eq!(outbox.number(marked).await, 1);

            outbox.messenger.heal();
            let second = outbox.ending(1).await;
            assert_eq!(outbox.deliver().await.dropped, 1);
            assert_eq!(outbox.state(second).await, state("dropped", 0, "receiver unreachable"));
            assert_eq!(outbox.messenger.calls(), calls + 1, "nobody is asked in vain");

            outbox.execute("SELECT perennial_ensure_user(1, NULL, NULL)").await;
            assert_eq!(outbox.number(marked).await, 0);
            outbox.ending(1).await;
            outbox.advance(SECOND).await;
            assert_eq!(outbox.deliver().await.sent, 1);
        }
    });
}

#[test]
fn a_bot_that_holds_the_user_holds_up_nobody() {
    db_test(async |db| {
        let outbox = Outbox::new(db.clone()).await;
        outbox.users(2).await;
        let (lost, sent) = (outbox.ending(1).await, outbox.ending(2).await);
        outbox.messenger.fail_chat(1, Fault::BLOCKED);
        let bot = db.client().await;
        bot.batch_execute("BEGIN; SELECT FROM users WHERE telegram_id = 1 FOR UPDATE").await.unwrap();
        assert_eq!(outbox.deliver().await.sent, 1);
        assert_eq!((outbox.status(lost).await.as_str(), outbox.status(sent).await.as_str()), ("dropped", "sent"));
        bot.batch_execute("ROLLBACK").await.unwrap();
    });
}

#[test]
fn an_operators_chat_that_cannot_be_reached_is_a_warning() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        outbox.write(notice(-5, "alert_brake")).await;
        outbox.messenger.fail_chat(-5, Fault::KICKED);
        let summary = outbox.deliver().await;
        assert_eq!(summary.dropped, 1);
        assert!(summary.warnings[0].starts_with("the chat -5 for alerts cannot be reached: "), "{summary:?}");
    });
}

#[test]
fn what_is_refused_for_good_is_dead_with_the_reason_and_holds_up_nobody() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let (bad, good) = (outbox.ending(1).await, outbox.ending(2).await);
        outbox.messenger.fail_chat(1, Fault::TOO_LONG);
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dead), (1, 1));
        assert_eq!(summary.first_dead[0].reason, "refused: Bad Request: message is too long");
        assert_eq!(outbox.state(bad).await, state("dead", 1, "refused: Bad Request: message is too long"));
        assert_eq!(outbox.status(good).await, "sent");
        outbox.advance(HOUR * 24).await;
        assert_eq!(outbox.deliver().await, perennial_core::delivery::DeliverySummary::default());
    });
}

#[test]
fn a_refused_token_stops_the_run_and_costs_no_attempt() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for chat in 1..=40 {
            outbox.ending(chat).await;
        }
        outbox.messenger.fail_all(Fault::UNAUTHORISED);
        let summary = outbox.deliver().await;
        assert_eq!(outbox.messenger.calls(), 1);
        assert_eq!(summary.warnings, ["delivery stopped: the bot token was refused: Unauthorized"]);
        assert_eq!((outbox.count("pending").await, outbox.number("SELECT max(attempts) FROM notices").await), (40, 0));
        outbox.messenger.heal();
        assert_eq!(outbox.deliver().await.sent, 40);
    });
}

#[test]
fn a_passing_failure_is_tried_again_later_and_later_and_never_given_up() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = outbox.ending(1).await;
        outbox.messenger.fail_all(Fault::SERVER_ERROR);
        let mut waits = Vec::new();
        for attempt in 1..MAX_ATTEMPTS * 2 {
            let begun = outbox.now();
            assert_eq!(outbox.deliver().await.put_back, 1);
            let (status, attempts, why) = outbox.state(id).await;
            assert_eq!((status.as_str(), attempts), ("pending", attempt.min(8)));
            assert!(why.starts_with("not sent: "), "{why}");
            let next = outbox.time("not_before", id).await.unwrap();
            waits.push((next - begun).whole_seconds());
            assert_eq!(outbox.deliver().await.put_back, 0, "not before its time");
            outbox.clock.set(next);
        }
        assert_eq!(waits[..9], [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        // A messenger that was away for a day and a half has cost nobody his receipt.
        outbox.messenger.heal();
        assert_eq!(outbox.deliver().await.sent, 1);
    });
}

#[test]
fn sent_or_not_is_decided_by_the_kind() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let lost = |taken| Fault::HangBeforeAnswer { taken };
        // By chat: whether the request was lost or only the answer, what it is, how often it arrives in the end.
        let cases = [(1, false, true, 1), (2, true, true, 2), (3, false, false, 0), (4, true, false, 1)];
        for (chat, taken, is_ending, _) in cases {
            let id = if is_ending { outbox.ending(chat).await } else { outbox.reminder(chat).await };
            outbox.messenger.fail_chat(chat, lost(taken));
            let summary = outbox.deliver().await;
            let (status, attempts, why) = outbox.state(id).await;
            assert!(why.starts_with("sent or not: "), "{why}");
            let counted = (summary.maybe_doubled, summary.maybe_lost, summary.dropped);
            if is_ending {
                assert_eq!((status.as_str(), attempts, counted), ("pending", 1, (1, 0, 0)));
            } else {
                assert_eq!((status.as_str(), attempts, counted), ("dropped", 1, (0, 1, 1)));
            }
        }
        outbox.messenger.heal();
        outbox.advance(HOUR).await;
        assert_eq!(outbox.deliver().await.sent, 2);
        for (chat, .., arrived) in cases {
            assert_eq!(outbox.messenger.messages_of(chat).len(), arrived, "chat {chat}");
        }
    });
}

#[test]
fn a_messenger_that_hangs_costs_three_reminders_and_not_a_seconds_worth() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for chat in 1..=60 {
            outbox.reminder(chat).await;
        }
        outbox.messenger.fail_all(Fault::HangBeforeAnswer { taken: false });
        let summary = outbox.deliver().await;
        assert_eq!((summary.maybe_lost, outbox.count("dropped").await, outbox.count("pending").await), (3, 3, 57));
        assert!(summary.warnings[0].starts_with("delivery stopped: sent or not: "), "{summary:?}");
        outbox.messenger.heal();
        assert_eq!(outbox.deliver().await.sent, 57);
    });
}

#[test]
fn a_messenger_that_is_down_is_not_asked_for_every_notice() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for chat in 1..=60 {
            outbox.ending(chat).await;
        }
        for fault in [Fault::SERVER_ERROR, Fault::Page(502), Fault::Cut { taken: false }] {
            let calls = outbox.messenger.calls();
            outbox.messenger.fail_all(fault);
            assert_eq!(outbox.deliver().await.put_back, 3);
            assert_eq!(outbox.messenger.calls(), calls + 3);
        }
        outbox.messenger.heal();
        outbox.advance(HOUR).await;
        assert_eq!(outbox.deliver().await.sent, 60);
    });
}

#[test]
fn whatever_goes_wrong_an_ending_is_sent_or_somebody_can_see_why_not() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for (fault, chat) in Fault::every().into_iter().zip(1..) {
            let id = outbox.ending(chat).await;
            outbox.messenger.fail_call(1, fault.clone());
            drop(outbox.deliver().await);
            let told = outbox.state(id).await;
            assert!(told.0 == "sent" || !told.2.is_empty(), "{fault:?}: {told:?}");
            assert_ne!(told.0, "sending", "{fault:?}");
            outbox.messenger.heal();
            outbox.advance(HOUR).await;
            drop(outbox.deliver().await);
            let (status, ..) = outbox.state(id).await;
            let messages = outbox.arrived(id);
            // A message that was taken, though the answer was lost, may come twice.
            assert!(messages <= 1 + usize::from(fault.is_taken()), "{fault:?}: {messages}");
            assert_eq!(messages > 0, status == "sent", "{fault:?}: {status}");
        }
        assert_eq!(outbox.count("pending").await + outbox.count("sending").await, 0);
    });
}
