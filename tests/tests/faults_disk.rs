//! The disk of the server is full in the middle of a pass: it ends in its time with the documented code, the books are
//! sound, and once there is room again the next pass does the rest.
//!
//! The disk is a small file system in memory, mounted in a namespace of this test's own, so nothing is left behind whatever
//! happens. Where the machine does not permit that, the test says so and is skipped.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod fire_support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use fire_support::{PASSES, Service, begin, connect, end, wait_until};
use perennial_testkit::{Cluster, ClusterOptions};

/// Where the small file system is; set for the part of the test that runs in the namespace.
const PLACE: &str = "PERENNIAL_TEST_SMALL_DISK";
/// Enough for a cluster and one database, and nothing to speak of beside the ballast.
const MEGABYTES: u32 = 160;
const CUSTOMERS: i64 = 1_000;
const NAME: &str = "a_disk_that_fills_up_in_mid_pass_ends_it_in_time_and_loses_and_doubles_nothing";

#[test]
fn a_disk_that_fills_up_in_mid_pass_ends_it_in_time_and_loses_and_doubles_nothing() {
    match std::env::var_os(PLACE) {
        Some(place) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(on_a_small_disk(Path::new(&place)));
        }
        None => in_a_namespace(),
    }
}

/// Runs this very test again where it may mount something.
fn in_a_namespace() {
    let place = tempfile::tempdir().unwrap();
    // The second part gives up being root of its own namespace: no server runs as root.
    let mount = format!("mount -t tmpfs -o size={MEGABYTES}m,mode=0777 tmpfs \"${PLACE}\"");
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let (namespaces, back) =
        if is_root { ("--mount", "") } else { ("-rm", "unshare -U --map-user=65534 --map-group=65534 ") };
    let script = |then: &str| format!("{mount} && {then}");
    let unshare = |then: &str| {
        let mut command = Command::new("unshare");
        command.args([namespaces, "sh", "-c", &script(then)]).env(PLACE, place.path());
        command
    };
    let may = unshare(&format!("{back}true")).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("SKIPPED: this machine does not let its users mount a small disk: {may:?}");
        }
        return;
    }
    let own = std::env::current_exe().unwrap();
    let test = format!("exec {back}'{}' --exact {NAME} --nocapture", own.display());
    let output = unshare(&test).output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Takes all the room there is.
fn fill(disk: &Path) {
    let mut ballast = File::create(disk.join("ballast")).unwrap();
    for piece in [1 << 20, 4_096] {
        let zeroes = vec![0; piece];
        while ballast.write_all(&zeroes).is_ok() {}
    }
}

async fn on_a_small_disk(disk: &Path) {
    let options = ClusterOptions {
        base: Some(disk.to_path_buf()),
        settings: vec![("max_wal_size".to_owned(), "64MB".to_owned()), ("autovacuum".to_owned(), "off".to_owned())],
        ..ClusterOptions::default()
    };
    let mut cluster = Cluster::start(&options).unwrap();
    let mut service = Service::at(&cluster.url()).await;
    let migrated = end(service.command("admin").arg("migrate"));
    assert_eq!(migrated.code(), Some(0), "{migrated:?}");
    service.populate().await;
    // So many that every table must grow.
    service
        .execute(&format!(
            "INSERT INTO users (telegram_id) SELECT 1000 + n FROM generate_series(1, {CUSTOMERS}) n;
             INSERT INTO credentials (telegram_id) SELECT 1000 + n FROM generate_series(1, {CUSTOMERS}) n;
             SELECT count(perennial_top_up(1000 + n, 50000, 'full' || n)) FROM generate_series(1, {CUSTOMERS}) n;
             INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, starts_at, expires_at, auto_renew)
                 SELECT c.telegram_id, 'payment', 'basic_30', c.id, now() - interval '30 d',
                     now() + CASE WHEN c.telegram_id % 2 = 0 THEN interval '1 h' ELSE interval '-1 h' END, true
                 FROM credentials c WHERE c.telegram_id > 1000"
        ))
        .await;

    let mut codes = Vec::new();
    for (pass, point) in [
        ("renew", "renew.before_claim"),
        ("expire-fast", "end.before_commit"),
        ("notify-trials", "remind.before_commit"),
        ("reconcile-xray", "reconcile.orphan_recorded"),
    ] {
        let share: &[&str] = match pass {
            "expire-fast" => &["--max-ends-share", "1"],
            "reconcile-xray" => &["--max-removal-share", "1"],
            _ => &[],
        };
        let all = [&["--max-seconds", "5", "--no-deliver"][..], share].concat();
        let running = begin(service.command(pass).args(all).env("PERENNIAL_STOP_AT", point));
        wait_until(point, || running.is_suspended());
        fill(disk);
        running.signal("-CONT");
        let ended = running.wait();
        assert!(matches!(ended.code(), Some(0 | 3 | 69 | 75)), "{pass}: {ended:?}");
        // Its budget, five seconds, and what a busy machine adds.
        assert!(ended.seconds < 20.0, "{pass}: {ended:?}");
        codes.push((pass, ended.code()));
        fs::remove_file(disk.join("ballast")).unwrap();
        // It may have ended at a log that could not grow; then it is started again, as its operator would.
        cluster.restart().unwrap();
        service.client = connect(&service.url).await;
        let verified = end(service.command("admin").arg("verify"));
        assert_eq!(verified.code(), Some(0), "after {pass}: {verified:?}");
    }
    assert_eq!(codes[0], ("renew", Some(69)), "{codes:?}");

    for pass in PASSES.into_iter().chain(["reconcile-xray"]) {
        let all: &[&str] = match pass {
            "reconcile-xray" => &["--max-seconds", "60", "--max-removal-share", "1"],
            "expire-fast" => &["--max-seconds", "60", "--max-ends-share", "1", "--no-deliver"],
            _ => &["--max-seconds", "60", "--no-deliver"],
        };
        let ended = service.run(pass, all);
        assert!(matches!(ended.code(), Some(0 | 3)), "{pass} with room again: {ended:?}");
    }
    assert_eq!(service.number("SELECT count(*) FROM transfers WHERE kind = 'charge'").await, 5 + CUSTOMERS / 2);
    assert_eq!(service.number("SELECT count(*) FROM subscriptions WHERE status = 'expiring'").await, 0);
    assert_eq!(service.number("SELECT count(*) FROM parked WHERE subscription > 1000").await, 0);
    assert_eq!(service.drift().await, [""; 0]);
    let verified = end(service.command("admin").arg("verify"));
    assert_eq!(verified.code(), Some(0), "{verified:?}");
}
