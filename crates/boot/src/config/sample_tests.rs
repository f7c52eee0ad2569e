//! The sample of the settings file says what the programs do.

use std::collections::BTreeMap;
use std::fmt::Debug;

use perennial_core::pass::Pass;

use super::*;
use crate::delivery::{DEFAULT_RATE, claim_settings};
use crate::in_force::InForce;
use crate::options::{BaseOptions, Options};

const SAMPLE: &str = include_str!("../../../../deploy/perennial.toml");

/// Sections by name, with what opens them in a file.
const SECTIONS: [(&str, &str); 12] = [
    ("", ""),
    ("database", "[database]\n"),
    ("telegram", "[telegram]\n"),
    ("texts", "[texts]\n"),
    ("renew", "[renew]\n"),
    ("trials", "[trials]\n"),
    ("expire", "[expire]\n"),
    ("reconcile", "[reconcile]\n"),
    ("retention", "[retention]\n"),
    ("node", "[[node]]\n"),
    ("node.inbound", "[[node]]\nname = \"a\"\napi = \"http://h\"\n[[node.inbound]]\n"),
    ("trials.stages", "[trials]\nstages = [{ nobody_knows_this = 1 }]\n"),
];

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("perennial.toml")).unwrap_or_else(|error| panic!("{error}"))
}

/// The sample with its comments removed where `wanted` says so: a line `#key = value` becomes a setting.
fn uncommented(wanted: impl Fn(&str) -> bool) -> String {
    let is_setting = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase() || first == '[');
    let lines = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if is_setting(setting) && wanted(setting) => setting,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

fn is_example(setting: &str) -> bool {
    setting.ends_with("# example")
}

/// Keys of a parsed file by section; those of arrays of tables together.
fn keys(text: &str) -> BTreeMap<String, Vec<String>> {
    fn walk(section: &str, table: &toml::Table, found: &mut BTreeMap<String, Vec<String>>) {
        for (key, value) in table {
            let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
            match value {
                toml::Value::Table(table) => walk(&path, table, found),
                toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
                    if path != "node" && path != "node.inbound" {
                        found.entry(section.to_owned()).or_default().push(key.clone());
                    }
                    items.iter().filter_map(toml::Value::as_table).for_each(|table| walk(&path, table, found));
                }
                _ => found.entry(section.to_owned()).or_default().push(key.clone()),
            }
        }
    }
    let mut found = BTreeMap::new();
    walk("", &text.parse().unwrap(), &mut found);
    found
}

/// All keys of a section, as the program names them to who has written another.
fn known(opening: &str) -> Vec<String> {
    let wrong = if opening.contains("nobody_knows_this") {
        opening.to_owned()
    } else {
        format!("{opening}nobody_knows_this = 1\n")
    };
    let error = Config::parse(&wrong, Path::new("p.toml")).unwrap_err().to_string();
    let (_, listed) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_sample_can_be_used_as_it_is_and_changes_nothing() {
    assert_eq!(format!("{:?}", parse(SAMPLE)), format!("{:?}", Config::default()));
}

#[test]
fn the_sample_can_be_used_with_every_comment_removed() {
    let config = parse(&uncommented(|_| true));
    assert_eq!(config.nodes.len(), 3);
    assert!(config.database.ca_file.is_some() && config.expire.on_removed.is_some());
}

#[test]
fn the_sample_shows_every_setting_there_is() {
    let mut shown = keys(&uncommented(|_| true));
    let sections: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    for (section, opening) in SECTIONS {
        let shown = shown.entry(section.to_owned()).or_default();
        for key in known(opening) {
            let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
            assert!(shown.contains(&key) || sections.contains(&path.as_str()), "the sample does not show {path}");
        }
    }
}

fn in_force(pass: Pass, text: &str) -> InForce {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("perennial.toml");
    std::fs::write(&file, text).unwrap();
    let database_url = Some("postgresql://h/d?sslmode=disable".into());
    let base = BaseOptions { config: Some(file), database_url, ..BaseOptions::default() };
    InForce::load(pass, &Options { base, ..Options::default() }).unwrap()
}

fn shown(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// What the programs do by what only some of them read: path in the file, value in force under `config`.
fn special(config: &Config) -> Vec<(&'static str, String)> {
    let Config { telegram, texts, renew, trials, expire, reconcile, retention, .. } = config;
    vec![
        ("owner_prefix", shown(&config.owner_prefix)),
        ("protected_prefixes", shown(&config.protected_prefixes)),
        ("telegram.api", shown(&telegram.api.as_deref().unwrap_or(perennial_telegram::TELEGRAM_API))),
        ("telegram.rate_per_second", shown(&telegram.rate_per_second.unwrap_or(DEFAULT_RATE))),
        ("texts.default_language", shown(&texts.default_language.as_deref().unwrap_or(perennial_texts::LAST_RESORT))),
        ("texts.default_time_zone", shown(&claim_settings(texts).default_time_zone)),
        ("renew.window", shown(&renew.window())),
        ("renew.grace", shown(&renew.grace())),
        ("trials.stages", shown(&trials.stages())),
        ("trials.no_end", shown(&trials.no_end.unwrap_or(false))),
        ("expire.grace", shown(&expire.grace())),
        ("expire.max_ends_share", shown(&expire.max_ends_share())),
        ("reconcile.missing", shown(&reconcile.missing())),
        ("reconcile.orphan_grace", shown(&reconcile.orphan_grace())),
        ("retention.runs", shown(&retention.runs())),
        ("retention.notices", shown(&retention.notices())),
        ("reconcile.max_removal_share", shown(&reconcile.max_removal_share())),
    ]
}

#[test]
fn the_defaults_in_the_sample_are_the_programs() {
    let text = uncommented(|setting| !is_example(setting));
    let config = parse(&text);
    let programs = special(&Config::default());
    assert_eq!(special(&config), programs);

    // Of what all passes have, each shows its own; two settings have one place for all.
    let common = ["batch_size", "workers", "max_seconds", "dry_run", "mode", "output", "log_format"];
    for pass in Pass::ALL {
        let values = |text: &str| -> Vec<(String, String)> {
            in_force(pass, text).entries().into_iter().map(|[name, value, _]| (name, value)).skip(1).collect()
        };
        assert_eq!(values(&text), values(""), "{pass}");
    }
    // And nothing that is said to be a default goes without a comparison.
    for (section, keys) in keys(&text) {
        for key in keys.iter().filter(|_| section != "trials.stages") {
            let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
            let is_compared = programs.iter().any(|(known, _)| *known == path)
                || common.contains(&key.as_str())
                || path == "database.pool_size";
            assert!(is_compared, "{path} is not compared");
        }
    }
}
