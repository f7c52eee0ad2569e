use super::*;
use crate::options::BaseOptions;

const URL: &str = "postgresql://renew:hunter2@db.example/shop?sslmode=disable";

fn load(file: &str, options: Options) -> Result<InForce, SettingError> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("p.toml");
    std::fs::write(&config, file).unwrap();
    let base = BaseOptions { config: Some(config), database_url: Some(URL.into()), ..options.base };
    InForce::load("renew", &Options { base, ..options })
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
    assert_eq!((in_force.batch_rows(), in_force.workers(), in_force.pool_size()), (200, 1, 3));
    assert_eq!((in_force.output(), in_force.log_format()), (Output::Text, LogFormat::Text));
    assert!(!in_force.is_dry_run() && in_force.metrics_file().is_none() && in_force.ping_url().is_none());
    let budgets = ["renew", "notify-trials", "expire-fast", "reconcile-xray"].map(default_seconds);
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
            "batch_size|200|default",
            "workers|2|flag or environment",
            "max_seconds|240|default",
            "dry_run|false|default",
            "output|text|default",
            "log_format|text|default",
            "metrics_file|none|default",
            "ping_url|https://hc.example/…|flag or environment",
            "owner_prefix|p.|",
        ]
    );
    assert!(!format!("{in_force:?}").contains("hunter2"));
}
