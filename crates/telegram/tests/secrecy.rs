//! The token and the proxy's password are in nothing that is printed, whatever goes wrong and however talkative the
//! logs are.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod common;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::{CHAT, message_to, message_with_button, settings};
use log::{LevelFilter, Log, Metadata, Record};
use perennial_core::ports::Messenger as _;
use perennial_telegram::{Telegram, TelegramSettings};
use perennial_testkit::fake_telegram::{FakeTelegram, Fault, Limits};

/// The secret halves.
const SECRET: &str = "AAtheHalfThatNobodyMaySee_0123456789";
const PASSWORD: &str = "proxy-Passw0rd";

/// Keeps every record of every library, key-values included.
struct Capture(Mutex<String>);

static CAPTURE: Capture = Capture(Mutex::new(String::new()));

impl Capture {
    fn add(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_str(line);
        lines.push('\n');
    }

    fn all(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Values(String);

impl<'kvs> log::kv::VisitSource<'kvs> for Values {
    fn visit_pair(&mut self, key: log::kv::Key<'kvs>, value: log::kv::Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push_str(&format!(" {key}={value:?}"));
        Ok(())
    }
}

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut values = Values(String::new());
        record.key_values().visit(&mut values).unwrap();
        self.add(&format!("{} {} {}{}", record.level(), record.target(), record.args(), values.0));
    }

    fn flush(&self) {}
}

fn secret_settings(api: &str) -> TelegramSettings {
    let mut settings = settings(api);
    settings.token = format!("123456789:{SECRET}").into();
    // What comes of it does not matter here, only what is printed.
    settings.connect_limit = Duration::from_millis(300);
    settings.read_limit = Duration::from_millis(300);
    settings
}

fn proxied(proxy: &str, api: &str) -> TelegramSettings {
    TelegramSettings { proxy: Some(proxy.replace("//", &format!("//user:{PASSWORD}@")).into()), ..secret_settings(api) }
}

/// Sends, and keeps everything that anybody could print of it.
async fn send(settings: TelegramSettings) {
    CAPTURE.add(&format!("{settings:?} {settings:#?}"));
    let telegram = Telegram::new(settings).unwrap();
    CAPTURE.add(&format!("{telegram:?} {telegram:#?}"));
    for message in [message_to(CHAT), message_with_button()] {
        CAPTURE.add(&format!("{message:?}"));
        if let Err(error) = telegram.send(&message).await {
            CAPTURE.add(&format!("{error} {error:?} {error:#?}"));
        }
    }
}

#[tokio::test]
async fn no_failure_and_no_log_shows_the_token_or_the_password() {
    log::set_logger(&CAPTURE).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let fake = FakeTelegram::start_with(Limits::NONE).unwrap();
    let nobody = "http://127.0.0.1:9";

    send(secret_settings(&fake.api())).await;
    for fault in Fault::every() {
        fake.fail_all(fault);
        send(secret_settings(&fake.api())).await;
        fake.heal();
    }
    send(secret_settings(nobody)).await;
    send(secret_settings("http://nowhere.invalid")).await;
    send(secret_settings(&fake.api().replace("http:", "https:"))).await;
    send(secret_settings(&format!("{}/some/path", fake.api()))).await;
    for scheme in ["http", "https", "socks5", "socks5h"] {
        let proxy = fake.api().replace("http:", &format!("{scheme}:"));
        send(proxied(&proxy, "http://telegram.invalid")).await;
        send(proxied(&proxy, "https://telegram.invalid")).await;
        send(proxied(&nobody.replace("http:", &format!("{scheme}:")), "https://telegram.invalid")).await;
    }
    let bad_token = TelegramSettings { token: format!("1:{SECRET} x").into(), ..secret_settings(nobody) };
    let bad_api = secret_settings(&format!("bad://{PASSWORD}"));
    let bad_proxy = TelegramSettings { proxy: Some(format!("bad://{PASSWORD}").into()), ..secret_settings(nobody) };
    for settings in [bad_token, bad_api, bad_proxy] {
        let error = Telegram::new(settings).unwrap_err();
        CAPTURE.add(&format!("{error} {error:?}"));
    }

    let all = CAPTURE.all();
    assert!(all.contains("TRACE") && all.contains("DEBUG reqwest"), "the libraries' logs were not captured");
    assert!(all.contains("sendMessage was answered"), "our own logs were not captured");
    for (line, text) in all.lines().enumerate() {
        assert!(!text.contains(SECRET) && !text.contains(PASSWORD), "line {line}: {text}");
    }
}
