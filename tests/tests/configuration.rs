//! docs/configuration.md is written from the flags of the programs and the settings of the file. `make docs` writes it
//! anew; a flag or setting that it does not tell of, or tells otherwise, fails here.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap::builder::StyledStr;

/// Set by `make docs`: write the page instead of comparing it.
const WRITE: &str = "PERENNIAL_WRITE_DOCS";

const HEAD: &str = "# Configuration

<!-- Written by `make docs` from the programs' flags and settings. Edit those, not this page. -->

One settings file serves all programs. **Flags and environment win over the file, the file over defaults.** The file is
`--config FILE`, else `PERENNIAL_CONFIG`, else `/etc/perennial/perennial.toml` where it exists. Unknown keys are refused,
and every program checks every section, so a slip shows at the first `--check-config`:

```sh
expire-fast --check-config      # what is in force and where it came from; secrets masked; touches nothing; 0 or 78
```

Durations are written `90s`, `15m`, `6h`, `3d`; shares `0.3`. A variable that is set to nothing counts as not set.
Secrets (the database's address, the bot's token, heartbeat addresses) are best kept in files of their own
(`database.url_file`, `telegram.token_file`) or given as systemd credentials; they are never shown.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn commands() -> [clap::Command; 4] {
    [
        renew::flags::Flags::command(),
        notify_trials::flags::Flags::command(),
        expire_fast::flags::Flags::command(),
        reconcile_xray::flags::Flags::command(),
    ]
}

#[test]
fn the_page_tells_of_every_flag_and_setting() {
    let page = page();
    let file = root().join("docs/configuration.md");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, &page).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == page, "docs/configuration.md is not what the flags and settings say: run `make docs`");
}

#[test]
fn the_reader_of_settings_finds_those_that_a_person_would_name() {
    let sections = sections();
    let keys = |name: &str| {
        let section = sections.iter().find(|section| section.name == name);
        section
            .unwrap_or_else(|| panic!("no section {name}"))
            .settings
            .iter()
            .map(|setting| setting.key.as_str())
            .collect()
    };
    let top: Vec<&str> = keys("");
    assert_eq!(top, ["owner_prefix", "protected_prefixes"], "`folder` is no setting");
    let database: Vec<&str> = keys("[database]");
    assert_eq!(database, ["url_file", "ca_file", "pool_size"]);
    let renew: Vec<&str> = keys("[renew]");
    assert!(renew.starts_with(&["window", "grace"]), "{renew:?}");
    let every: Vec<&str> = keys("[renew] [trials] [expire] [reconcile]");
    assert!(every.contains(&"batch_size") && every.contains(&"ping_url"), "{every:?}");
    let nodes: Vec<&str> = keys("[[node]]");
    assert!(nodes.contains(&"api"), "{nodes:?}");
    assert_eq!(sections.len(), 13);
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## Settings file\n");
    for section in sections() {
        let heading =
            if section.name.is_empty() { "Top of the file".to_owned() } else { format!("`{}`", section.name) };
        write!(page, "\n### {heading}\n\n| key | meaning |\n|---|---|\n").unwrap();
        for setting in section.settings {
            writeln!(page, "| `{}` | {} |", setting.key, in_a_cell(&setting.meaning)).unwrap();
        }
    }
    let commands = commands();
    let is_common = |id: &clap::Id| commands.iter().all(|command| command.get_arguments().any(|a| a.get_id() == id));
    page.push_str("\n## Flags of every pass\n");
    flags(&mut page, &commands[0], &is_common);
    for command in &commands {
        write!(page, "\n## Flags of `{}`\n\n{}.\n", command.get_name(), plain(command.get_about())).unwrap();
        flags(&mut page, command, &|id| !is_common(id));
    }
    page
}

fn flags(page: &mut String, command: &clap::Command, is_wanted: &dyn Fn(&clap::Id) -> bool) {
    page.push_str("\n| flag | environment | meaning |\n|---|---|---|\n");
    let ours = command.get_arguments().filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()));
    for argument in ours.filter(|argument| is_wanted(argument.get_id())) {
        let Some(long) = argument.get_long() else { continue };
        let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let names = argument.get_value_names().filter(|_| argument.get_action().takes_values()).unwrap_or_default();
        let value: String = names.iter().map(|name| format!(" {name}")).collect();
        let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
        let meaning = in_a_cell(&plain(argument.get_long_help().or(argument.get_help())));
        writeln!(page, "| `{short}--{long}{value}` | {variable} | {meaning} |").unwrap();
    }
}

fn plain(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn in_a_cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

struct Section {
    name: String,
    settings: Vec<Setting>,
}

struct Setting {
    key: String,
    meaning: String,
}

/// The sections as the source of the settings declares them, each setting with its comment.
fn sections() -> Vec<Section> {
    let read = |name: &str| fs::read_to_string(root().join("crates/boot/src").join(name)).unwrap();
    let (config, passes, nodes) = (read("config.rs"), read("config/section.rs"), read("config/nodes.rs"));
    let (stages, retention) = (read("config/stages.rs"), read("config/retention.rs"));
    let mut found = Vec::new();
    // Sections are told below by themselves.
    let mut top = settings(between(&config, "pub struct Config {", "\n}\n"));
    top.retain(|setting| !setting.meaning.starts_with("`["));
    found.push(Section { name: String::new(), settings: top });
    for (name, start) in [
        ("database", "pub struct DatabaseSection {"),
        ("telegram", "pub struct TelegramSection {"),
        ("texts", "pub struct TextsSection {"),
    ] {
        found.push(Section { name: format!("[{name}]"), settings: settings(between(&config, start, "\n}\n")) });
    }
    for (name, start) in [
        ("renew", "    RenewSection {"),
        ("trials", "    TrialsSection {"),
        ("expire", "    ExpireSection {"),
        ("reconcile", "    ReconcileSection {"),
    ] {
        found.push(Section { name: format!("[{name}]"), settings: settings(between(&passes, start, "\n    }\n")) });
    }
    let every = settings(between(&passes, "pub struct $section {", "\n        }\n"));
    found.push(Section { name: "[renew] [trials] [expire] [reconcile]".to_owned(), settings: every });
    for (name, source, start) in [
        ("[retention]", &retention, "pub struct RetentionSection {"),
        ("trials.stages = [{…}]", &stages, "pub struct TrialStage {"),
        ("[[node]]", &nodes, "pub struct Node {"),
    ] {
        found.push(Section { name: name.to_owned(), settings: settings(between(source, start, "\n}\n")) });
    }
    found.push(Section {
        name: "[[node.inbound]]".to_owned(),
        settings: settings(between(&nodes, "pub struct Inbound {", "\n}\n")),
    });
    found
}

fn between<'a>(source: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = source.split_once(start).unwrap_or_else(|| panic!("{start} is not declared where it was"));
    rest.split_once(end).unwrap().0
}

/// `/// meaning` lines and the field below them. A field that a section of its own fills is left out, and one that no file
/// can set.
fn settings(fields: &str) -> Vec<Setting> {
    let mut found = Vec::new();
    let mut meaning: Vec<&str> = Vec::new();
    let mut is_skipped = false;
    for line in fields.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            meaning.push(comment.trim());
        } else if line == "#[serde(skip)]" {
            is_skipped = true;
        } else if let Some((key, _)) = line.strip_prefix("pub ").unwrap_or(line).split_once(':') {
            if !is_skipped && !key.contains(['#', '(', ' ']) && !key.is_empty() && key != "inbounds" {
                found.push(Setting { key: key.to_owned(), meaning: meaning.join(" ") });
            }
            meaning.clear();
            is_skipped = false;
        }
    }
    found
}
