use std::process::Command as Process;

use clap::CommandFactory;
use secrecy::ExposeSecret;

use super::*;

/// Do a pass
#[derive(Debug, Parser)]
#[command(version)]
struct Main {
    #[command(flatten)]
    common: Options,
}

mod named_alike {
    /// A main's flags, named as its own style wants it
    #[derive(Debug, clap::Parser)]
    pub(super) struct Options {
        #[command(flatten)]
        pub(super) common: super::Options,
    }
}

#[test]
fn a_main_may_call_its_flags_options_too() {
    let parsed = parse_from::<named_alike::Options>(["pass", "--dry-run"].map(OsString::from));
    assert!(parsed.unwrap().common.dry_run);
}

fn parsed(arguments: &[&str]) -> Result<Options, clap::Error> {
    let arguments = std::iter::once("pass").chain(arguments.iter().copied()).map(OsString::from);
    parse_from::<Main>(arguments).map(|main| main.common)
}

#[test]
fn flags_are_read() {
    let options = parsed(&[
        "--config=/c.toml",
        "--database-url=postgresql://h/d",
        "--batch-size=100",
        "--workers=2",
        "--max-seconds=9",
        "--dry-run",
        "--mode=limited",
        "--limit=7",
        "--output=json",
        "--log-format=json",
        "-vv",
        "--metrics-file=/m",
        "--ping-url=http://h/",
        "--check-config",
    ])
    .unwrap();
    assert_eq!((options.batch_size, options.workers, options.max_seconds), (Some(100), Some(2), Some(9)));
    assert_eq!((options.base.output, options.base.log_format), (Some(Output::Json), Some(LogFormat::Json)));
    assert_eq!((options.mode, options.limit), (Some(crate::mode::Mode::Limited), Some(7)));
    assert!(options.dry_run && options.check_config && options.base.verbose == 2);
    assert_eq!(options.base.database_url.as_ref().map(|url| url.expose_secret()), Some("postgresql://h/d"));
}

#[test]
fn wrong_flags_are_usage_errors() {
    for arguments in [
        &["--batch-size=0"][..],
        &["--batch-size=10001"],
        &["--workers=0"],
        &["--workers=65"],
        &["--max-seconds=0"],
        &["--mode=careful"],
        &["--limit=0"],
        &["--max-seconds=1m"],
        &["--output=xml"],
        &["-v", "-q"],
        &["--config="],
        &["more"],
    ] {
        let error = parsed(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
}

#[test]
fn the_help_keeps_the_house_style() {
    let command = Main::command();
    assert_eq!(command.get_about().map(ToString::to_string).as_deref(), Some("Do a pass"));
    for argument in command.get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(!help.is_empty() && !help.ends_with('.'), "{argument}: {help}");
        assert!(help.starts_with(|first: char| first.is_ascii_uppercase()), "{argument}: {help}");
    }
}

#[test]
fn secrets_are_in_no_help_and_no_debug() {
    let options = parsed(&["--database-url=hunter2", "--ping-url=hunter2"]).unwrap();
    assert!(!format!("{options:?}").contains("hunter2"));
    for name in ["database_url", "ping_url"] {
        let command = Main::command();
        let argument = command.get_arguments().find(|argument| argument.get_id() == name).unwrap();
        assert!(argument.is_hide_env_values_set());
    }
}

/// Run by the test below in a process with an environment of its own.
#[test]
fn child_prints_what_it_parsed() {
    if std::env::var_os("PERENNIAL_TEST_CHILD").is_none() {
        return;
    }
    match parsed(&[]) {
        Ok(options) => println!(
            "parsed {:?} {:?} {:?} {}",
            options.base.config,
            options.workers,
            options.base.output,
            options.base.database_url.is_some()
        ),
        Err(error) => println!("refused {}", error.exit_code()),
    }
}

fn child(variables: &[(&str, &str)]) -> String {
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "options::tests::child_prints_what_it_parsed", "--nocapture"])
        .env_clear()
        .env("PERENNIAL_TEST_CHILD", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.find("parsed").or(line.find("refused")).map(|at| &line[at..]));
    line.unwrap_or_default().to_owned()
}

#[test]
fn an_environment_variable_set_to_nothing_counts_as_not_set() {
    let all = [
        "PERENNIAL_CONFIG",
        "DATABASE_URL",
        "PERENNIAL_BATCH_SIZE",
        "PERENNIAL_WORKERS",
        "PERENNIAL_MAX_SECONDS",
        "PERENNIAL_OUTPUT",
        "PERENNIAL_LOG_FORMAT",
        "PERENNIAL_METRICS_FILE",
        "PERENNIAL_PING_URL",
    ];
    assert_eq!(child(&all.map(|name| (name, ""))), "parsed None None None false");
    assert_eq!(
        child(&[("PERENNIAL_WORKERS", "2"), ("PERENNIAL_OUTPUT", "json"), ("DATABASE_URL", "x")]),
        "parsed None Some(2) Some(Json) true"
    );
    assert_eq!(child(&[("PERENNIAL_WORKERS", "none")]), "refused 2");
}
