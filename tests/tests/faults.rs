//! What goes wrong outside: the server dies, hangs, is full, locked or read-only; a pass is frozen and wakes up late; a
//! host's clock is a day off; an Xray server or Telegram never answers. Every pass ends within its budget plus five
//! seconds with the documented code, and the next one does what was left.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod fire_support;

use std::path::Path;
use std::time::Duration;

use fire_support::proxy::{Way, detour};
use fire_support::{Ended, PASSES, Running, Service, begin, connect, end, wait_until};
use perennial_testkit::fake_telegram::Fault as Silence;
use perennial_testkit::fake_xray::{Fault, When};
use perennial_testkit::{Cluster, ClusterOptions, db_test};

/// Short, since every test waits for it to run out.
const BUDGET: &str = "2";
/// What a pass may take: its budget and five seconds, and what a busy machine adds to starting a process.
const AT_MOST: f64 = 2.0 + 5.0 + 2.0;
const CHARGES: &str = "SELECT count(*) FROM transfers WHERE kind = 'charge'";

fn arguments(pass: &str) -> Vec<&'static str> {
    let mut all = vec!["--max-seconds", BUDGET];
    if pass == "reconcile-xray" {
        all.extend(["--max-removal-share", "1"]);
    }
    all
}

fn assert_ended(what: &str, ended: &Ended, codes: &[i32]) {
    assert!(ended.code().is_some_and(|code| codes.contains(&code)), "{what}: {ended:?}");
    assert!(ended.seconds < AT_MOST, "{what} took {} s", ended.seconds);
}

/// All passes, without a fault and with time: whatever happened before is set right.
async fn assert_recovers(service: &Service, what: &str) {
    service.leases_end().await;
    service
        .execute("UPDATE nodes SET next_try_at = NULL; UPDATE notices SET not_before = least(not_before, now())")
        .await;
    for pass in PASSES.into_iter().chain(["reconcile-xray"]) {
        let mut all = arguments(pass);
        all[1] = "30";
        let ended = service.run(pass, &all);
        assert!(matches!(ended.code(), Some(0 | 3)), "{pass} after {what}: {ended:?}");
    }
    assert_eq!(service.number(CHARGES).await, 5, "{what}");
    assert_eq!(service.drift().await, [""; 0], "{what}");
    let open = "SELECT count(*) FROM subscriptions WHERE status = 'expiring'";
    assert_eq!(service.number(open).await, 0, "{what}");
    let verified = end(service.command("admin").arg("verify"));
    assert_eq!(verified.code(), Some(0), "{what}: {verified:?}");
}

/// A server of the test's own, migrated and populated.
async fn own_server(settings: &[(&str, &str)]) -> (Cluster, Service) {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let cluster = Cluster::start(&ClusterOptions { settings, ..ClusterOptions::default() }).unwrap();
    let service = Service::at(&cluster.url()).await;
    let migrated = end(service.command("admin").arg("migrate"));
    assert_eq!(migrated.code(), Some(0), "{migrated:?}");
    service.populate().await;
    (cluster, service)
}

fn alone(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

/// Starts a pass that suspends itself at a point.
fn suspended(service: &Service, pass: &str, point: &str, seconds: &str) -> Running {
    let mut all = arguments(pass);
    all[1] = if seconds.is_empty() { BUDGET } else { "30" };
    let running = begin(service.command(pass).args(all).env("PERENNIAL_STOP_AT", point));
    wait_until(point, || running.is_suspended());
    running
}

#[test]
fn a_server_that_is_killed_in_mid_transaction_ends_the_pass_with_69_and_loses_and_doubles_nothing() {
    alone(async {
        let (mut cluster, mut service) = own_server(&[]).await;
        for (pass, point, orderly) in [
            ("renew", "renew.before_commit", false),
            ("renew", "renew.after_commit", true),
            ("notify-trials", "end.before_commit", false),
            ("expire-fast", "removal.proven_not_recorded", true),
            ("reconcile-xray", "reconcile.stripped", false),
        ] {
            let running = suspended(&service, pass, point, "long");
            if orderly {
                cluster.stop_immediately().unwrap()
            } else {
                cluster.kill9().unwrap()
            }
            running.signal("-CONT");
            assert_ended(&format!("{pass} at {point}"), &running.wait(), &[69]);
            cluster.restart().unwrap();
            service.client = connect(&service.url).await;
        }
        assert_recovers(&service, "a server that was killed").await;
    });
}

#[test]
fn a_server_that_hangs_ends_every_pass_in_time() {
    alone(async {
        let (cluster, service) = own_server(&[]).await;
        for (pass, point) in [
            ("renew", "renew.before_claim"),
            ("notify-trials", "remind.before_commit"),
            ("expire-fast", "end.before_commit"),
            ("reconcile-xray", "reconcile.orphan_recorded"),
        ] {
            let running = suspended(&service, pass, point, "");
            let frozen = Frozen::all_of(cluster.pid().unwrap());
            running.signal("-CONT");
            let ended = running.wait();
            drop(frozen);
            assert_ended(&format!("{pass} at {point}"), &ended, &[69, 75]);
        }
        assert_recovers(&service, "a server that hung").await;
    });
}

/// Processes that stand still until this is dropped.
struct Frozen(Vec<String>);

impl Frozen {
    fn all_of(postmaster: u32) -> Self {
        let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
        let all: Vec<String> =
            std::iter::once(postmaster.to_string()).chain(children.split_whitespace().map(str::to_owned)).collect();
        Self::signal(&all, "-STOP");
        Self(all)
    }

    fn signal(processes: &[String], signal: &str) {
        // One that has ended meanwhile needs no signal.
        drop(std::process::Command::new("kill").arg(signal).args(processes).output().unwrap());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        Self::signal(&self.0, "-CONT");
    }
}

#[test]
fn a_server_without_a_free_connection_ends_every_pass_with_69() {
    alone(async {
        let (_cluster, service) =
            own_server(&[("max_connections", "12"), ("superuser_reserved_connections", "0")]).await;
        let mut all_taken = Vec::new();
        while let Ok((client, connection)) = tokio_postgres::connect(&service.url, tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            all_taken.push(client);
        }
        for pass in PASSES {
            assert_ended(pass, &service.run(pass, &arguments(pass)), &[69]);
        }
        drop(all_taken);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_recovers(&service, "a full server").await;
    });
}

#[test]
fn a_read_only_server_a_stuck_session_and_a_copied_database_end_every_pass_with_its_code() {
    db_test(async |db| {
        // Straight, whatever others do: what is tried is how a new session begins, and a pooler keeps old ones.
        let service = Service::at(db.url()).await;
        service.populate().await;
        service.execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", db.name())).await;
        for pass in PASSES {
            assert_ended(&format!("{pass}, read-only"), &service.run(pass, &arguments(pass)), &[69]);
        }
        service.execute(&format!("ALTER DATABASE {} RESET default_transaction_read_only", db.name())).await;

        let accepted = "UPDATE installation SET system_identifier = ";
        service.execute(&format!("{accepted} 1, accepted_at = now()")).await;
        for pass in PASSES {
            assert_ended(&format!("{pass}, copied"), &service.run(pass, &arguments(pass)), &[78]);
        }
        service.execute(&format!("{accepted} NULL, accepted_at = NULL")).await;
        assert_eq!(service.number("SELECT count(*) FROM runs").await, 0, "a refused pass has written");

        let stuck = connect(db.url()).await;
        stuck.batch_execute("BEGIN; LOCK TABLE subscriptions IN ACCESS EXCLUSIVE MODE").await.unwrap();
        for pass in PASSES {
            // Nobody's fault, and nothing done: unforeseen is not among the answers.
            assert_ended(&format!("{pass}, locked out"), &service.run(pass, &arguments(pass)), &[69, 75]);
        }
        stuck.batch_execute("ROLLBACK").await.unwrap();
        let parked = service.number("SELECT count(*) FROM parked").await;
        assert_eq!(parked, 0, "a row was blamed for the server's trouble");
        assert_recovers(&service, "a read-only server and a stuck session").await;
    });
}

#[test]
fn servers_and_a_messenger_that_never_answer_end_every_pass_in_time() {
    db_test(async |db| {
        let service = Service::of(&db).await;
        service.populate().await;
        service.nodes[0].inject(When::any(), Fault::RequestLost);
        service.telegram.fail_all(Silence::HangBeforeAnswer { taken: false });
        for pass in PASSES {
            let ended = service.run(pass, &arguments(pass));
            assert_ended(&format!("{pass}, one server and the messenger hang"), &ended, &[0, 3, 75]);
        }
        service.nodes[1].inject(When::any(), Fault::RequestLost);
        for pass in ["expire-fast", "reconcile-xray"] {
            service.execute("UPDATE nodes SET next_try_at = NULL").await;
            assert_ended(&format!("{pass}, all servers hang"), &service.run(pass, &arguments(pass)), &[69, 75]);
        }
        for node in &service.nodes {
            node.clear_faults();
        }
        service.telegram.heal();
        assert_recovers(&service, "servers that never answered").await;
        let lost = "SELECT count(*) FROM notices WHERE status <> 'sent' AND kind IN ('renewed', 'trial_over', 'subscription_over')";
        assert_eq!(service.number(lost).await, 0, "receipts or endings were lost");
    });
}

/// The one answers, the other's way is bad, and so is the messenger's.
#[test]
fn ways_that_drip_break_or_swallow_end_every_pass_in_time() {
    for way in [Way::Drips, Way::Breaks(400), Way::Swallows] {
        db_test(async |db| {
            let mut service = Service::of(&db).await;
            service.populate().await;
            let good = (service.addresses.clone(), service.telegram_api.clone());
            service.addresses[0] = detour(&good.0[0], way);
            service.telegram_api = detour(&good.1, way);
            for pass in PASSES {
                let ended = service.run(pass, &arguments(pass));
                assert_ended(&format!("{pass} by a way that {way:?}"), &ended, &[0, 3, 75]);
            }
            (service.addresses, service.telegram_api) = good;
            assert_recovers(&service, &format!("ways that {way:?}")).await;
        });
    }
}

#[test]
fn a_pass_that_was_frozen_and_wakes_up_after_others_did_its_work_does_no_harm() {
    for (pass, point) in [
        ("renew", "renew.before_commit"),
        ("renew", "renew.after_commit"),
        ("renew", "delivery.claimed"),
        ("notify-trials", "end.before_commit"),
        ("expire-fast", "removal.removed_not_proven"),
        ("expire-fast", "removal.proven_not_recorded"),
        ("reconcile-xray", "reconcile.retired_not_removed"),
        ("reconcile-xray", "reconcile.stripped"),
    ] {
        db_test(async |db| {
            let service = Service::of(&db).await;
            service.populate().await;
            let sleeper = suspended(&service, pass, point, "long");
            service.leases_end().await;
            let other = service.run(pass, &arguments(pass));
            assert_ended(&format!("another {pass} while one sleeps at {point}"), &other, &[0, 3, 75]);
            // Meanwhile somebody pays whose old credential the sleeper may still remove.
            service
                .execute("SELECT perennial_top_up(41, 100000, 'back'), perennial_buy(41, 'basic_30', true, 'again')")
                .await;
            sleeper.signal("-CONT");
            let woken = sleeper.wait();
            assert!(matches!(woken.code(), Some(0 | 3 | 69 | 75)), "{pass} woken at {point}: {woken:?}");
            service.execute("UPDATE tariffs SET price_kopecks = price_kopecks").await;
            service.leases_end().await;
            for pass in PASSES.into_iter().chain(["reconcile-xray"]) {
                let mut all = arguments(pass);
                all[1] = "30";
                let ended = service.run(pass, &all);
                assert!(matches!(ended.code(), Some(0 | 3)), "{pass} after {point}: {ended:?}");
            }
            assert_eq!(service.number(CHARGES).await, 6, "{pass} frozen at {point}");
            assert_eq!(service.drift().await, [""; 0], "{pass} frozen at {point}");
        });
    }
}

#[test]
fn a_host_whose_clock_is_a_day_off_decides_the_same_and_warns() {
    let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| format!("/usr/lib/{machine}/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|library| Path::new(library).is_file());
    let Some(library) = library else {
        let installable = Path::new("/usr/bin/apt-get").exists();
        let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!(in_ci && installable), "no libfaketime here, and CI could install it: scripts/install-faketime.sh");
        #[allow(clippy::print_stderr)]
        {
            eprintln!("SKIPPED: no libfaketime here (Debian: faketime)");
        }
        return;
    };
    let outcomes = [None, Some("+86400"), Some("-86400")].map(|skew| {
        let mut outcome = None;
        let place = &mut outcome;
        let library = &library;
        db_test(async move |db| {
            let service = Service::of(&db).await;
            service.populate().await;
            for pass in PASSES.into_iter().chain(["reconcile-xray"]) {
                let mut command = service.command(pass);
                let mut all = arguments(pass);
                all[1] = "30";
                command.args(all);
                if let Some(skew) = skew {
                    command.env("LD_PRELOAD", library).env("FAKETIME", skew).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
                }
                let ended = end(&mut command);
                assert!(matches!(ended.code(), Some(0 | 3)), "{pass} by {skew:?}: {ended:?}");
                let warned = ended.summary["warnings"].to_string().contains("this host's clock is");
                assert_eq!(warned, skew.is_some(), "{pass} by {skew:?}: {ended:?}");
            }
            *place = Some(service.outcome().await);
        });
        outcome.unwrap()
    });
    assert_eq!(outcomes[1], outcomes[0], "a day ahead");
    assert_eq!(outcomes[2], outcomes[0], "a day behind");
}
