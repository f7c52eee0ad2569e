//! What reads input that others write, each behind one function over bytes: settings, texts of an operator, parameters of
//! notices that bots write, plan files, lists of Xray servers, answers of a messenger.
//!
//! A target panics when its promise is broken; that no input makes anything else panic, hang or overflow the stack is part
//! of every promise. `fuzz_targets` runs them by coverage (`cargo +nightly fuzz run --features libfuzzer settings`),
//! `mutate` on any compiler.

use std::path::Path;

use perennial_boot::Config;
use perennial_core::time::from_micros;
use perennial_texts::{Moment, Params, TextError, Texts, kinds};
use reconcile_xray::plan_file::PlanFile;
use serde_json::Value;
use time::PrimitiveDateTime;

/// A target: its name, which is that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 6] = [
    ("settings", settings),
    ("texts", texts),
    ("notice", notice),
    ("plan", plan),
    ("servers_list", servers_list),
    ("messenger_answer", messenger_answer),
];

/// Telegram's limit.
const MOST_CHARACTERS: usize = 4_096;

/// Settings are taken or refused with a reason that names the file.
pub fn settings(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text, Path::new("perennial.toml")) {
        // What is taken can be shown, as `--check-config` does.
        Ok(config) => assert!(!format!("{config:?}").is_empty()),
        Err(error) => assert!(error.to_string().contains("perennial.toml"), "{error}"),
    }
}

/// Whatever an operator writes into his folder, every notice is said: in his words or in the shipped ones.
pub fn texts(input: &[u8]) {
    let Ok(source) = std::str::from_utf8(input) else { return };
    let Some(texts) = Texts::with_source("ru", source) else { return };
    assert!(perennial_texts::check(&texts).len() < 1_000_000);
    for kind in kinds() {
        let params = read(kind, &good(kind)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let rendered = texts.render(kind, Some("ru"), &params).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_fits(&rendered.html);
    }
}

/// Whatever a bot writes into the outbox is said or refused for what it lacks, never for a text.
pub fn notice(input: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<Value>(input) else { return };
    let Some(texts) = Texts::with_source("ru", "") else { return };
    for kind in kinds() {
        let Ok(params) = read(kind, &stored) else { continue };
        match texts.render(kind, Some("en"), &params) {
            Ok(rendered) => assert_fits(&rendered.html),
            Err(TextError::Broken { text, problem }) => panic!("{text}: {problem}"),
            Err(_) => {}
        }
    }
}

/// A plan that is read is one that was made: whatever was changed in it shows.
pub fn plan(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(plan) = PlanFile::parse(text) {
        let now = from_micros(1_700_000_000_000_000).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        assert!(plan.refusal("another database", now).is_some());
        assert_eq!(plan.is_empty(), plan.len() == 0);
    }
}

/// A list is the same however it arrives, in order, and has nobody twice.
pub fn servers_list(input: &[u8]) {
    let whole = perennial_xray::fuzzing::list(input, input.len());
    let pieces = perennial_xray::fuzzing::list(input, 1 + input.len() / 7);
    let users = |list: &perennial_core::ports::UserList| {
        list.iter().map(|user| (user.email.to_owned(), user.uuid, user.flow.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(whole.as_ref().map(users), pieces.as_ref().map(users));
    if let Some(list) = whole {
        let emails: Vec<&str> = list.iter().map(|user| user.email).collect();
        assert!(emails.windows(2).all(|pair| pair[0] < pair[1]) && !emails.contains(&""), "{emails:?}");
    }
    let shown = perennial_xray::fuzzing::shown(&String::from_utf8_lossy(input));
    assert!(shown.chars().count() <= 300 && !shown.contains(char::is_control), "{shown:?}");
}

/// Every answer has a meaning, in words that any database takes, and a wait of a day at most.
pub fn messenger_answer(input: &[u8]) {
    let Some((status, body)) = input.split_first_chunk::<2>() else { return };
    let status = 100 + u16::from_be_bytes(*status) % 500;
    let header = body.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
    if let Err(error) = perennial_telegram::meaning(status, header, body) {
        if let perennial_core::ports::MessengerError::Throttled { wait } = &error {
            assert!((1..=86_400).contains(&wait.as_secs()), "{error}");
        }
        let words = error.to_string();
        assert!(words.chars().count() < 500 && !words.contains(char::is_control), "{words:?}");
    }
}

fn read(kind: &str, stored: &Value) -> Result<Params, TextError> {
    let wall = |at: time::OffsetDateTime| PrimitiveDateTime::new(at.date(), at.time());
    let now = from_micros(1_700_000_000_000_000).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    Params::from_json(kind, stored, Moment { at: now, local: wall(now) }, |name| {
        // As the database has it, which gives none before 1970.
        stored.get(name)?.as_i64().filter(|micros| *micros >= 0).and_then(from_micros).map(wall)
    })
}

/// Parameters of every kind in one.
fn good(kind: &str) -> Value {
    let stored: Value = serde_json::from_str(GOOD).unwrap_or_default();
    if kind.starts_with("alert_") { stored["alert"].clone() } else { stored["notice"].clone() }
}

const GOOD: &str = include_str!("../corpus/good.json");

fn assert_fits(html: &str) {
    // Tags count less than their characters, entities more than one each: an upper bound on what is shown.
    let mut shown = 0;
    let mut in_tag = false;
    for character in html.chars() {
        match character {
            '<' => in_tag = true,
            '>' => in_tag = false,
            _ if !in_tag => shown += 1,
            _ => {}
        }
    }
    let entities = html.matches('&').count();
    assert!(shown - entities.min(shown) * 3 <= MOST_CHARACTERS && !html.trim().is_empty(), "{shown}: {html}");
    assert!(!html.contains('\0'));
}
