//! Every fault of the fake server, and what the client makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod common;

use std::time::{Duration, Instant};

use common::{CHAT, meaning, message_to, message_with_button, settings, telegram};
use perennial_core::ports::{Message, Messenger as _};
use perennial_telegram::Telegram;
use perennial_testkit::fake_telegram::{FakeMessenger, FakeTelegram, Fault, Limits, TOKEN, ToldWhere};
use serde_json::json;

/// What each fault means; and whether the message was taken, which no reaction may contradict.
fn expected(fault: &Fault) -> &'static str {
    match fault {
        Fault::Refuse(refusal) => match (refusal.code, refusal.migrate_to) {
            (_, Some(_)) => "moved -1001234567890",
            (403, _) => "unreachable",
            (401 | 404, _) => "unauthorised",
            (500.., _) => "transient",
            _ if *fault == Fault::CHAT_NOT_FOUND || *fault == Fault::NO_RIGHTS => "unreachable",
            _ => "refused",
        },
        Fault::Throttle { told: ToldWhere::Nowhere, .. } | Fault::Page(429) => "throttled 5",
        Fault::Throttle { .. } => "throttled 1",
        Fault::Page(504) => "unknown",
        Fault::Page(_) => "transient",
        Fault::Slow { .. } => "sent",
        Fault::Garbage
        | Fault::NoMessageId
        | Fault::HangBeforeAnswer { .. }
        | Fault::HangInBody
        | Fault::Cut { .. }
        | Fault::CutInBody => "unknown",
    }
}

#[tokio::test]
async fn every_fault_has_its_meaning() {
    let fake = FakeTelegram::start().unwrap();
    let telegram = telegram(&fake.api());
    for fault in Fault::every() {
        fake.heal();
        let before = fake.messages().len();
        fake.fail_call(1, fault.clone());
        let result = telegram.send(&message_to(CHAT)).await;
        assert_eq!(meaning(&result), expected(&fault), "{fault:?}: {result:?}");
        let was_taken = fake.messages().len() > before;
        assert_eq!(was_taken, fault.is_taken(), "{fault:?}");
        if was_taken {
            assert!(matches!(meaning(&result).as_str(), "sent" | "unknown"), "taken, but {result:?}");
        }
    }
}

#[tokio::test]
async fn the_messenger_without_a_network_means_the_same() {
    let simulated = FakeMessenger::new(Limits::DOCUMENTED, || Duration::ZERO);
    for fault in Fault::every() {
        simulated.heal();
        simulated.fail_call(1, fault.clone());
        let result = simulated.send(&message_to(CHAT)).await;
        assert_eq!(meaning(&result), expected(&fault), "{fault:?}: {result:?}");
    }
}

#[tokio::test]
async fn a_fault_leaves_the_next_message_alone() {
    let fake = FakeTelegram::start_with(Limits::NONE).unwrap();
    let telegram = telegram(&fake.api());
    for fault in [Fault::Cut { taken: false }, Fault::CutInBody, Fault::BLOCKED, Fault::Page(502), Fault::HangInBody] {
        fake.fail_call(1, fault.clone());
        telegram.send(&message_to(CHAT)).await.unwrap_err();
        assert_eq!(meaning(&telegram.send(&message_to(CHAT)).await), "sent", "after {fault:?}");
    }
}

#[tokio::test]
async fn a_message_arrives_as_written() {
    let fake = FakeTelegram::start().unwrap();
    let telegram = telegram(&fake.api());
    assert_eq!(telegram.send(&message_to(CHAT)).await, Ok(1));
    assert_eq!(telegram.send(&message_with_button()).await, Ok(2));
    let requests: Vec<_> = fake.messages().into_iter().map(|message| message.request).collect();
    let plain = json!({
        "chat_id": 7,
        "text": "<b>Hello</b> &amp; good-bye",
        "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
    });
    let mut with_button = plain.clone();
    with_button["reply_markup"] = json!({ "inline_keyboard": [[{ "text": "Pay", "url": "https://example.org/pay" }]] });
    assert_eq!(requests, [plain, with_button]);
}

#[tokio::test]
async fn what_the_server_itself_refuses_is_never_tried_again() {
    let fake = FakeTelegram::start().unwrap();
    let telegram = telegram(&fake.api());
    let with_text = |html: &str| Message { html: html.to_owned(), ..message_to(CHAT) };
    for (message, reason) in [
        (with_text(""), "message text is empty"),
        (with_text("<b> </b>"), "message text is empty"),
        (with_text("<p>a</p>"), "can't parse entities"),
        (with_text("<b>a"), "can't parse entities"),
        (with_text(&"я".repeat(4_097)), "message is too long"),
        (message_to(0), "chat_id is empty"),
    ] {
        let error = telegram.send(&message).await.unwrap_err();
        assert_eq!(meaning(&Err(error.clone())), "refused");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let longest = with_text(&format!("<b>{}</b>", "&lt;".repeat(4_096)));
    assert_eq!(meaning(&telegram.send(&longest).await), "sent");
}

#[tokio::test]
async fn another_token_is_refused_by_the_server() {
    let fake = FakeTelegram::start().unwrap();
    fake.accept_only(TOKEN);
    assert_eq!(meaning(&telegram(&fake.api()).send(&message_to(CHAT)).await), "sent");
    let mut other = settings(&fake.api());
    other.token = "123456789:AARevokedRevokedRevokedRevokedRevok".into();
    assert_eq!(meaning(&Telegram::new(other).unwrap().send(&message_to(CHAT)).await), "unauthorised");
}

#[tokio::test]
async fn a_client_that_is_too_fast_is_told_to_wait_and_so_is_everybody_else() {
    let fake = FakeTelegram::start().unwrap();
    let telegram = telegram(&fake.api());
    for _ in 0..3 {
        assert_eq!(meaning(&telegram.send(&message_to(CHAT)).await), "sent");
    }
    assert_eq!(meaning(&telegram.send(&message_to(CHAT)).await), "throttled 3");
    assert_eq!(meaning(&telegram.send(&message_to(CHAT + 1)).await), "throttled 3");
    assert_eq!((fake.throttled(), fake.messages().len()), (2, 3));
}

#[tokio::test]
async fn a_hanging_server_takes_no_longer_than_the_limits() {
    let fake = FakeTelegram::start().unwrap();
    let mut settings = settings(&fake.api());
    settings.read_limit = Duration::from_millis(300);
    let telegram = Telegram::new(settings).unwrap();
    for fault in [Fault::HangBeforeAnswer { taken: true }, Fault::HangInBody] {
        fake.fail_call(1, fault);
        let begun = Instant::now();
        assert_eq!(meaning(&telegram.send(&message_to(CHAT)).await), "unknown");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn an_answer_that_drips_ends_at_the_total_limit() {
    let fake = FakeTelegram::start().unwrap();
    let mut settings = settings(&fake.api());
    settings.total_limit = Duration::from_millis(700);
    fake.fail_call(1, Fault::Slow { pause: Duration::from_millis(50) });
    let begun = Instant::now();
    let result = Telegram::new(settings).unwrap().send(&message_to(CHAT)).await;
    assert_eq!(meaning(&result), "unknown");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
