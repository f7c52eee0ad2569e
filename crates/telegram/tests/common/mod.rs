//! What the tests of the client share.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::time::Duration;

use perennial_core::ports::{Button, Message, MessengerError};
use perennial_telegram::{Telegram, TelegramSettings};
use perennial_testkit::fake_telegram::TOKEN;

/// The chat that most tests write to.
pub(crate) const CHAT: i64 = 7;

/// Settings for a server on this machine: patient enough for a busy one, quick enough for a test.
pub(crate) fn settings(api: &str) -> TelegramSettings {
    TelegramSettings {
        api: api.to_owned(),
        connect_limit: Duration::from_millis(1_000),
        read_limit: Duration::from_millis(1_000),
        total_limit: Duration::from_secs(15),
        ..TelegramSettings::new(TOKEN.into())
    }
}

pub(crate) fn telegram(api: &str) -> Telegram {
    Telegram::new(settings(api)).expect("the settings of a test are good")
}

pub(crate) fn message_to(chat_id: i64) -> Message {
    Message { chat_id, html: "<b>Hello</b> &amp; good-bye".to_owned(), button: None }
}

pub(crate) fn message_with_button() -> Message {
    let button = Button { caption: "Pay".to_owned(), url: "https://example.org/pay".to_owned() };
    Message { button: Some(button), ..message_to(CHAT) }
}

/// The variant, and the wait or new chat where it has one.
pub(crate) fn meaning(result: &Result<i64, MessengerError>) -> String {
    match result {
        Ok(_) => "sent".to_owned(),
        Err(MessengerError::Throttled { wait }) => format!("throttled {}", wait.as_secs()),
        Err(MessengerError::ChatMoved { to }) => format!("moved {to}"),
        Err(MessengerError::Unreachable { .. }) => "unreachable".to_owned(),
        Err(MessengerError::Refused { .. }) => "refused".to_owned(),
        Err(MessengerError::Unauthorised { .. }) => "unauthorised".to_owned(),
        Err(MessengerError::Transient { .. }) => "transient".to_owned(),
        Err(MessengerError::Unknown { .. }) => "unknown".to_owned(),
    }
}
