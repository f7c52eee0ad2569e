use std::sync::Arc;

use log::Level;

use super::*;

/// Collects what a logger writes.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn origin() -> Origin {
    Origin { program: "notify-trials", run_id: RunId(uuid::Uuid::nil()) }
}

/// What `write` gets through the logger, the time cut off each line.
fn logged(form: LogFormat, filters: Option<&str>, level: LevelFilter, write: impl Fn(&dyn Log)) -> String {
    let collected = Collected::default();
    let target = env_logger::Target::Pipe(Box::new(collected.clone()));
    write(&logger(origin(), form, filters, level, target));
    let bytes = collected.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn record(log: &dyn Log, target: &str, level: Level, message: &str) {
    log.log(&Record::builder().target(target).level(level).args(format_args!("{message}")).build());
}

const ALL: [(&str, Level); 8] = [
    ("perennial_core::db", Level::Debug),
    ("perennial_core::db", Level::Info),
    ("notify_trials", Level::Debug),
    ("some_crate", Level::Info),
    ("some_crate", Level::Warn),
    ("tokio_postgres::client", Level::Debug),
    ("reqwest::connect", Level::Trace),
    ("rustls::client", Level::Warn),
];

fn seen(filters: Option<&str>, level: LevelFilter) -> Vec<(&'static str, Level)> {
    let is_seen = |(target, level_of): &(&str, Level)| {
        !logged(LogFormat::Text, filters, level, |log| record(log, target, *level_of, "said")).is_empty()
    };
    ALL.into_iter().filter(is_seen).collect()
}

#[test]
fn levels_follow_the_flags_and_rust_log_wins() {
    let warnings = [("some_crate", Level::Warn), ("rustls::client", Level::Warn)];
    let info: Vec<_> = [("perennial_core::db", Level::Info)].into_iter().chain(warnings).collect();
    assert_eq!(seen(None, LevelFilter::Info), info);
    assert_eq!(seen(None, LevelFilter::Warn), warnings);
    assert_eq!(seen(None, LevelFilter::Off), []);
    assert_eq!(seen(None, LevelFilter::Debug).len(), 5);
    assert_eq!(seen(Some("perennial_core=debug"), LevelFilter::Off).len(), 2);
}

#[test]
fn what_other_crates_print_of_the_wire_is_cut_off_whatever_rust_log_says() {
    for filters in ["trace", "tokio_postgres=trace,reqwest=trace", "tokio_postgres::client=debug"] {
        for wire in [("tokio_postgres::client", Level::Debug), ("reqwest::connect", Level::Trace)] {
            assert!(!seen(Some(filters), LevelFilter::Info).contains(&wire), "{filters}");
        }
    }
    assert!(seen(Some("trace"), LevelFilter::Info).contains(&("rustls::client", Level::Warn)));
}

#[test]
fn flags_give_the_level() {
    for (verbose, quiet, level) in [
        (0, 0, LevelFilter::Info),
        (1, 0, LevelFilter::Debug),
        (2, 0, LevelFilter::Trace),
        (9, 0, LevelFilter::Trace),
        (0, 1, LevelFilter::Warn),
        (0, 2, LevelFilter::Error),
        (0, 3, LevelFilter::Off),
    ] {
        assert_eq!(default_level(&BaseOptions { verbose, quiet, ..BaseOptions::default() }), level);
    }
}

fn with_pairs(log: &dyn Log) {
    let name = "a \"b\"";
    let pairs: &[(&str, log::kv::Value<'_>)] = &[
        ("subscription_id", 7.into()),
        ("dry", true.into()),
        ("name", name.into()),
        ("bare", "abc".into()),
        ("level", "high".into()),
    ];
    log.log(
        &Record::builder()
            .target("perennial_renew")
            .level(Level::Info)
            .args(format_args!("renewed\nERROR forged"))
            .key_values(&pairs)
            .build(),
    );
}

#[test]
fn a_line_for_people_keeps_pairs_and_stays_one_line() {
    let line = logged(LogFormat::Text, None, LevelFilter::Info, with_pairs);
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(
        rest,
        "INFO  perennial_renew: renewed\\nERROR forged subscription_id=7 dry=true name=\"a \\\"b\\\"\" bare=abc level=high\n"
    );
    let format = &time::format_description::well_known::Rfc3339;
    assert!(time.ends_with('Z') && time::OffsetDateTime::parse(time, format).is_ok(), "{time}");
}

#[test]
fn a_json_line_keeps_pairs_as_members() {
    let line = logged(LogFormat::Json, None, LevelFilter::Info, with_pairs);
    assert_eq!(line.lines().count(), 1);
    let mut object: serde_json::Value = serde_json::from_str(&line).unwrap();
    let at = object.as_object_mut().and_then(|object| object.remove("at"));
    assert!(at.is_some_and(|at| at.as_str().is_some_and(|at| at.ends_with('Z'))));
    assert_eq!(
        object,
        serde_json::json!({
            "level": "info", "target": "perennial_renew", "program": "notify-trials",
            "run_id": "00000000-0000-0000-0000-000000000000", "message": "renewed\nERROR forged",
            "subscription_id": 7, "dry": true, "name": "a \"b\"", "bare": "abc", "level_": "high",
        })
    );
}

#[test]
fn the_tail_keeps_the_last_lines_and_cuts_long_ones() {
    logged(LogFormat::Text, None, LevelFilter::Info, |log| {
        for line in 0..100 {
            record(log, "perennial_core", Level::Info, &format!("line {line} {}", "я".repeat(1_000)));
        }
        record(log, "perennial_core", Level::Debug, "not logged, not kept");
    });
    let tail = tail();
    assert_eq!(tail.lines().count(), TAIL_LINES);
    assert!(tail.lines().last().is_some_and(|line| line.starts_with("INFO line 99 я")));
    assert!(tail.lines().all(|line| line.len() < TAIL_LINE_BYTES + 8 && line.ends_with('…')));
}
