use super::*;
use crate::options::BaseOptions;

const URL: &str = "postgresql://renew:hunter2@db.example/shop?sslmode=disable";

fn load(file: &str, options: Options) -> Result<InForce, SettingError> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("p.toml");
    std::fs::write(&config, file).unwrap();
    let base = BaseOptions { config: Some(config), database_url: Some(URL.into()), ..options.base };
    InForce::load(Pass::Renew, &Options { base, ..options })
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let file = "[renew]\nbatch_size = 300\nworkers = 2\noutput = \"json\"\ndry_run = true\n[expire]\nmax_seconds = 9";
    let in_force = load(file, Options { batch_size: Some(100), ..Options::default() }).unwrap();
    assert_eq!((in_force.batch_rows(), in_force.workers(), in_force.pool_size()), (100, 2, 4));
    assert_eq!((in_force.budget(), in_force.output()), (Duration::from_secs(240), Output::Json));
    assert!(in_force.is_dry_run());
    let from: Vec<From> = vec![in_force.batch_rows.from, in_force.workers.from, in_force.max_seconds.from];
    assert_eq!(from, [From::Flag, From::File, From::Default]);
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let in_force = load("", Options::default()).unwrap();
    assert_eq!((in_force.batch_rows(), in_force.workers(), in_force.pool_size()), (500, 1, 3));
    assert_eq!((in_force.output(), in_force.log_format()), (Output::Text, LogFormat::Text));
    assert!(!in_force.is_dry_run() && in_force.metrics_file().is_none() && in_force.ping_url().is_none());
    let budgets = Pass::ALL.map(default_seconds);
    assert_eq!(budgets, [240, 240, 50, 240]);
}

#[test]
fn contradictions_between_flags_and_file_are_refused() {
    let error = load("[database]\npool_size = 2", Options { workers: Some(3), ..Options::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--workers = 3: more workers than connections (database.pool_size = 2): lower workers or raise pool_size"
    );
    let ping = Options { ping_url: Some("ftp://h/hunter2".into()), ..Options::default() };
    assert_eq!(
        load("", ping).unwrap_err().to_string(),
        "--ping-url: is no address of a heartbeat: write one that begins with http:// or https://"
    );
    let metrics = Options { metrics_file: Some("/no/such/folder/renew.prom".into()), ..Options::default() };
    assert!(load("", metrics).unwrap_err().to_string().contains("is no file in an existing folder"));
}

#[test]
fn mode_and_limit_must_fit_each_other() {
    let flags = |mode, limit| Options { mode, limit, ..Options::default() };
    let needs =
        "mode = limited: says to stop after some effects, and not after how many: set limit (--limit), such as 10";
    let full = "limit = 5: has no meaning in mode full, which does all there is to do: set mode = \"limited\"";
    for (file, options, outcome) in [
        ("", flags(None, None), Ok((Mode::Full, None))),
        ("", flags(Some(Mode::Observe), None), Ok((Mode::Observe, None))),
        ("", flags(Some(Mode::Limited), Some(5)), Ok((Mode::Limited, Some(5)))),
        ("mode = \"limited\"\nlimit = 7", flags(None, None), Ok((Mode::Limited, Some(7)))),
        ("mode = \"limited\"\nlimit = 7", flags(None, Some(5)), Ok((Mode::Limited, Some(5)))),
        ("limit = 7", flags(Some(Mode::Limited), None), Ok((Mode::Limited, Some(7)))),
        // The limit of the next step may stand there already, and one word at the prompt goes past it.
        ("mode = \"observe\"\nlimit = 7", flags(None, None), Ok((Mode::Observe, None))),
        ("mode = \"limited\"\nlimit = 7", flags(Some(Mode::Full), None), Ok((Mode::Full, None))),
        ("mode = \"limited\"", flags(None, None), Err(needs)),
        ("", flags(Some(Mode::Limited), None), Err(needs)),
        // Who names a limit does not expect everything to be done.
        ("", flags(None, Some(5)), Err(full)),
        ("", flags(Some(Mode::Full), Some(5)), Err(full)),
        ("mode = \"full\"", flags(None, Some(5)), Err(full)),
        ("limit = 5", flags(None, None), Err(full)),
        ("mode = \"full\"\nlimit = 5", flags(None, None), Err(full)),
    ] {
        let found = load(&format!("[renew]\n{file}"), options.clone());
        let found = found.map(|found| (found.mode(), found.limit())).map_err(|error| error.to_string());
        match outcome {
            Ok(expected) => assert_eq!(found, Ok(expected), "{file} {options:?}"),
            Err(expected) => assert!(found.clone().unwrap_err().starts_with(expected), "{file}: {found:?}"),
        }
    }
}

#[test]
fn what_is_in_force_is_shown_without_secrets() {
    let options =
        Options { ping_url: Some("https://hc.example/ping/hunter2".into()), workers: Some(2), ..Options::default() };
    let in_force = load("[telegram]\nproxy = \"socks5://u:hunter2@h\"", options).unwrap();
    let shown: Vec<String> = in_force.entries().iter().skip(1).map(|entry| entry.join("|")).collect();
    assert_eq!(
        shown,
        [
            "database|renew@db.example:5432/shop|--database-url",
            "encryption|none|",
            "pool_size|4|default",
            "batch_size|500|default",
            "workers|2|flag or environment",
            "max_seconds|240|default",
            "dry_run|false|default",
            "mode|full|default",
            "limit|none|default",
            "output|text|default",
            "log_format|text|default",
            "metrics_file|none|default",
            "ping_url|https://hc.example/…|flag or environment",
            "owner_prefix|p.|",
        ]
    );
    assert!(!format!("{in_force:?}").contains("hunter2"));
}
