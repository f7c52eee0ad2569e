use super::*;
use crate::options::BaseOptions;

const NOWHERE: &str = "postgresql://u@127.0.0.1:1/d?sslmode=disable";

fn options(folder: &tempfile::TempDir, base: BaseOptions) -> Options {
    let config = folder.path().join("p.toml");
    if !config.exists() {
        std::fs::write(&config, "").unwrap();
    }
    Options {
        base: BaseOptions { config: Some(config), database_url: Some(NOWHERE.into()), ..base },
        metrics_file: Some(folder.path().join("renew.prom")),
        ..Options::default()
    }
}

/// `ExitCode` can be compared only by what it prints.
fn code(exit: ExitCode) -> String {
    format!("{exit:?}").chars().filter(char::is_ascii_digit).collect()
}

async fn never(_: Context<()>) -> anyhow::Result<Report> {
    unreachable!("there is no database to run a pass on")
}

#[test]
fn a_database_that_is_not_there_ends_the_pass_with_69_and_is_on_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let exit = run(Pass::Renew, &options(&folder, BaseOptions::default()), |_| Ok(()), never);
    assert_eq!(code(exit), "69");
    let metrics = std::fs::read_to_string(folder.path().join("renew.prom")).unwrap();
    assert!(metrics.contains("perennial_pass_exit_code{pass=\"renew\"} 69"));
    assert!(!metrics.contains("last_success"));
}

#[test]
fn a_dry_run_writes_no_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { dry_run: true, ..options(&folder, BaseOptions::default()) };
    assert_eq!(code(run(Pass::Renew, &options, |_| Ok(()), never)), "69");
    assert!(!folder.path().join("renew.prom").exists());
}

#[test]
fn settings_that_cannot_be_used_end_it_with_78_before_anything() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |_: &Config| Err::<(), _>(SettingError::unshown("renew.window", "too long", "shorten it"));
    assert_eq!(code(run(Pass::Renew, &options(&folder, BaseOptions::default()), refuse, never)), "78");
    std::fs::write(folder.path().join("p.toml"), "[renew]\nwindwo = 1").unwrap();
    assert_eq!(code(run(Pass::Renew, &options(&folder, BaseOptions::default()), |_| Ok(()), never)), "78");
    assert!(!folder.path().join("renew.prom").exists());
}

#[test]
fn check_config_connects_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let good = Options { check_config: true, ..options(&folder, BaseOptions::default()) };
    assert_eq!(code(run(Pass::Renew, &good, |_| Ok(()), never)), "0");
    assert!(!folder.path().join("renew.prom").exists());
    let bad = Options { workers: Some(9), check_config: true, ..options(&folder, BaseOptions::default()) };
    std::fs::write(folder.path().join("p.toml"), "[database]\npool_size = 2").unwrap();
    assert_eq!(code(run(Pass::Renew, &bad, |_| Ok(()), never)), "78");
}

fn race_for(budget: Duration, passage: impl Future<Output = anyhow::Result<Report>>) -> Raced {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(race(passage, &Deadline::after(budget)))
}

#[test]
fn a_pass_that_hangs_is_dropped_when_its_overtime_is_over() {
    let began = Instant::now();
    let raced = race_for(Duration::from_millis(200), std::future::pending());
    assert!(matches!(raced, Raced::Overrun), "{raced:?}");
    let took = began.elapsed();
    assert!(took >= OVERTIME && took < OVERTIME + Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_panic_is_caught_and_told() {
    let raced = race_for(Duration::from_secs(60), async { panic!("index {} out of bounds", 7) });
    let Raced::Panicked(message) = raced else { panic!("{raced:?}") };
    assert_eq!(message, "index 7 out of bounds");
}
