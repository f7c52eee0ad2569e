//! Everything through PgBouncer in transaction mode: all passes, two of each at once, beside other programs that share the
//! same few sessions. Nothing of ours may stay behind in a session, and nothing may need one.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod fire_support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use fire_support::{PASSES, Service, connect};
use perennial_testkit::cluster::{Pooler, find_pgbouncer};
use perennial_testkit::db_test;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Fewer than there are clients: sessions go from hand to hand.
const SESSIONS: u32 = 3;

/// A pooler before the test's server; none, said aloud, where it is not installed and could not be.
fn pooler(server: &tokio_postgres::Config) -> Option<Pooler> {
    let Some(program) = find_pgbouncer() else {
        let could_be = std::path::Path::new("/usr/bin/apt-get").is_file();
        assert!(!(could_be && std::env::var_os("CI").is_some()), "no pgbouncer here: scripts/install-pgbouncer.sh");
        skip("no pgbouncer here: scripts/install-pgbouncer.sh");
        return None;
    };
    if server.get_password().is_some() {
        skip("the server that was given wants a password, which the pooler of the tests has not");
        return None;
    }
    Some(Pooler::start(&program, server, SESSIONS).unwrap())
}

#[allow(clippy::print_stderr)]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// All settings of the session that answers, and what it holds on to.
async fn session(client: &Client) -> Vec<String> {
    let sql = "SELECT name || ' = ' || setting FROM pg_settings
               WHERE name NOT IN ('transaction_isolation', 'application_name', 'in_hot_standby')
                   AND name NOT LIKE 'plpgsql.%' -- shown once a function has run
               UNION ALL SELECT 'prepared statement ' || name FROM pg_prepared_statements
               UNION ALL SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
               UNION ALL SELECT 'temporary table ' || relname FROM pg_class
                   WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'
               ORDER BY 1";
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    rows.collect()
}

/// Ends the other program also when the test fails: a scope waits for its threads.
struct StopOther<'a>(&'a AtomicBool);

impl Drop for StopOther<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn all_passes_at_once_behind_a_pooler_do_their_work_and_leave_no_session_changed() {
    db_test(async |db| {
        let Some(pooler) = pooler(&db.config()) else { return };
        let mut service = Service::at(db.url()).await;
        service.populate().await;
        let pristine = session(&connect(&pooler.url(db.name())).await).await;
        assert!(pristine.len() > 200, "{pristine:?}");
        service.url = pooler.url(db.name());

        let others_go_on = AtomicBool::new(true);
        let seen = std::thread::scope(|scope| {
            let url = &service.url;
            let others_go_on = &others_go_on;
            let other = scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let client = connect(url).await;
                    let mut seen = BTreeSet::new();
                    while others_go_on.load(Ordering::SeqCst) {
                        seen.insert(session(&client).await);
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                    seen
                })
            });
            let stop = StopOther(others_go_on);
            for round in 0..2 {
                let running: Vec<_> = PASSES
                    .iter()
                    .flat_map(|pass| [(pass, "1"), (pass, "50")])
                    .map(|(pass, rows)| {
                        let mut all = vec!["--max-seconds", "30", "--batch-size", rows, "--workers", "2"];
                        if *pass == "reconcile-xray" {
                            all.extend(["--max-removal-share", "1"]);
                        }
                        (pass, service.start(pass, &all))
                    })
                    .collect();
                for (pass, running) in running {
                    let ended = running.wait();
                    // A copy may leave to the other what that one holds.
                    assert!(matches!(ended.code(), Some(0 | 3 | 75)), "{pass}, round {round}: {ended:?}");
                }
            }
            drop(stop);
            other.join().unwrap()
        });
        assert!(!seen.is_empty(), "the other program never got a session");
        for session in seen {
            let changed: Vec<&String> = session.iter().filter(|setting| !pristine.contains(setting)).collect();
            assert!(changed.is_empty(), "a pass left in another program's session: {changed:?}");
            assert_eq!(session.len(), pristine.len());
        }
        assert_eq!(service.number("SELECT count(*) FROM transfers WHERE kind = 'charge'").await, 5);
        assert_eq!(service.number("SELECT count(*) FROM notices WHERE status IN ('pending', 'sending')").await, 0);
        assert_eq!(service.number("SELECT count(*) FROM subscriptions WHERE status = 'expiring'").await, 0);
        assert_eq!(service.drift().await, [""; 0]);
        let admin = fire_support::end(service.command("admin").args(["verify"]));
        assert_eq!(admin.code(), Some(0), "{admin:?}");
    });
}
