//! Each pass under a role of its own: everything it does works, and what it has no business with is refused by the
//! database, whatever a defect or an intruder makes it ask for.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod fire_support;

use fire_support::{PASSES, Service, connect};
use perennial_testkit::fake_telegram::Fault;
use perennial_testkit::{TestDb, db_test};
use tokio_postgres::Client;

const ROLES: &str = include_str!("../../sql/roles.sql");
const DENIED: &str = "42501";

fn group(pass: &str) -> String {
    format!("perennial_{}", pass.replace('-', "_"))
}

/// A role that logs in and is a member of a group; roles belong to the whole cluster, so it goes with the test.
struct Login {
    name: String,
    url: String,
}

impl Login {
    async fn of(db: &TestDb, service: &Service, group: &str) -> Self {
        let name = format!("{}_{}", db.name(), group.trim_start_matches("perennial_"));
        service.execute(&format!("CREATE ROLE {name} LOGIN IN ROLE {group}")).await;
        let owner = db.config().get_user().unwrap().to_owned();
        let as_parameter = format!("user={owner}");
        let url = db.url();
        assert!(url.contains(&as_parameter), "the server of the tests lets roles in by other ways than the socket");
        Self { url: url.replace(&as_parameter, &format!("user={name}")), name }
    }

    async fn client(&self) -> Client {
        connect(&self.url).await
    }

    async fn drop(self, service: &Service) {
        service.execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name)).await;
    }
}

async fn assert_denied(client: &Client, what: &str) {
    match client.batch_execute(what).await {
        Ok(()) => panic!("this was allowed: {what}"),
        Err(error) => assert_eq!(error.code().map(|code| code.code()), Some(DENIED), "{what}: {error:?}"),
    }
}

/// On the server the tests start themselves everybody is let in; on one that was given, only who has a password.
fn can_log_in(db: &TestDb) -> bool {
    db.config().get_password().is_none()
}

#[test]
fn every_pass_does_all_its_work_under_its_own_role() {
    db_test(async |db| {
        if !can_log_in(&db) {
            return;
        }
        let mut service = Service::at(db.url()).await;
        service.populate().await;
        service.execute(ROLES).await;
        // What a delivery writes when Telegram refuses somebody for good belongs to the work.
        service.telegram.fail_chat(1, Fault::BLOCKED);
        let owner = service.url.clone();
        for pass in PASSES {
            let login = Login::of(&db, &service, &group(pass)).await;
            service.url = login.url.clone();
            for _ in 0..2 {
                let ended = service.run(
                    pass,
                    match pass {
                        "renew" => &["--max-seconds", "20", "--charge-notice", "24d"],
                        "reconcile-xray" => &["--max-seconds", "20", "--max-removal-share", "1"],
                        _ => &["--max-seconds", "20"],
                    },
                );
                assert!(matches!(ended.code(), Some(0 | 3)), "{pass}: {ended:?}");
                assert!(!ended.errors.contains(DENIED), "{pass}: {}", ended.errors);
            }
            service.url = owner.clone();
            login.drop(&service).await;
        }
        assert_eq!(service.number("SELECT count(*) FROM transfers WHERE kind = 'charge'").await, 5);
        assert_eq!(service.number("SELECT count(*) FROM parked WHERE pass = 'renew'").await, 1);
        assert!(service.number("SELECT count(*) FROM subscriptions WHERE charge_told_for IS NOT NULL").await > 0);
        assert_eq!(service.number("SELECT count(*) FROM users WHERE telegram_unreachable_since IS NOT NULL").await, 1);
        assert_eq!(service.number("SELECT count(*) FROM runs WHERE finished_at IS NULL").await, 0);
        assert_eq!(service.number("SELECT count(*) FROM subscriptions WHERE status = 'expiring'").await, 0);
        assert_eq!(service.drift().await, [""; 0]);
    });
}

#[test]
fn an_operator_who_only_reads_can_verify_and_explain_and_write_nothing() {
    db_test(async |db| {
        if !can_log_in(&db) {
            return;
        }
        let mut service = Service::at(db.url()).await;
        service.populate().await;
        service.execute(ROLES).await;
        let login = Login::of(&db, &service, "perennial_admin_read").await;
        service.url = login.url.clone();
        for command in [&["verify"][..], &["explain", "1"], &["parked"]] {
            let ended = fire_support::end(service.command("admin").args(command));
            assert_eq!(ended.code(), Some(0), "{command:?}: {ended:?}");
        }
        let reader = login.client().await;
        for table in ["users", "tariffs", "transfers", "credentials", "subscriptions", "audit_log"] {
            assert_denied(&reader, &format!("DELETE FROM {table}")).await;
            assert_denied(&reader, &format!("INSERT INTO {table} DEFAULT VALUES")).await;
        }
        assert_denied(&reader, "SELECT perennial_top_up(1, 100, 'mine')").await;
        drop(reader);
        login.drop(&service).await;
    });
}

/// What is refused to each, beside what is refused to all.
const REFUSED: [(&str, &[&str]); 4] = [
    (
        "renew",
        &[
            "UPDATE credentials SET closed_at = now(), retired_at = now()",
            "SELECT FROM credentials FOR UPDATE",
            "UPDATE subscriptions SET status = 'expiring'",
            "UPDATE subscriptions SET auto_renew = true",
            "INSERT INTO subscriptions (telegram_id, source, tariff, expires_at) VALUES (1, 'grant', 'basic_30', now())",
            "UPDATE tariffs SET price_kopecks = 0",
            "INSERT INTO discounts VALUES (1, 100)",
            "DELETE FROM removals",
        ],
    ),
    (
        "notify-trials",
        &[
            "INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks)
             VALUES ('mine', 'top_up', 2, 1001, 100)",
            "SELECT ledger_post(ARRAY['mine'], ARRAY['top_up'], ARRAY[2::bigint], ARRAY[1001::bigint],
             ARRAY[1::bigint], ARRAY[NULL::bigint], now())",
            "SELECT FROM transfers",
            "INSERT INTO payments DEFAULT VALUES",
            "SELECT FROM accounts FOR UPDATE",
            "SELECT uuid FROM credentials",
            "UPDATE credentials SET retired_at = now()",
            "UPDATE subscriptions SET expires_at = now() + interval '1 year'",
        ],
    ),
    (
        "expire-fast",
        &[
            "SELECT FROM transfers",
            "SELECT uuid FROM credentials",
            "UPDATE subscriptions SET expires_at = now() + interval '1 year'",
            "INSERT INTO parked (pass, subscription, tries, reason) VALUES ('renew', 1, 1, '')",
            "DELETE FROM removals",
            "UPDATE nodes SET retired_at = now()",
        ],
    ),
    (
        "reconcile-xray",
        &[
            "SELECT id FROM accounts",
            "SELECT FROM transfers",
            "UPDATE subscriptions SET status = 'active'",
            "INSERT INTO credentials (telegram_id) VALUES (1)",
            "INSERT INTO removals (credential, node) VALUES (1, 'n1')",
            "UPDATE nodes SET retired_at = now()",
        ],
    ),
];

const REFUSED_TO_ALL: &[&str] = &[
    "UPDATE transfers SET amount_kopecks = 1",
    "DELETE FROM transfers",
    "TRUNCATE transfers",
    "UPDATE payments SET voided_at = now()",
    "UPDATE accounts SET balance_kopecks = 100",
    "UPDATE accounts SET telegram_id = 2",
    "INSERT INTO accounts (kind, telegram_id, balance_kopecks) VALUES ('wallet', 1, 0)",
    "UPDATE audit_log SET reason = 'another'",
    "DELETE FROM audit_log",
    "SELECT FROM audit_log",
    "DELETE FROM notices",
    "DELETE FROM runs",
    "DELETE FROM subscriptions",
    "DELETE FROM credentials",
    "UPDATE credentials SET uuid = gen_random_uuid()",
    "UPDATE users SET vip = true",
    "UPDATE installation SET system_identifier = 1",
    "SELECT perennial_top_up(1, 100, 'mine')",
    "SELECT perennial_grant(1, 'basic_30', 100, 'mine')",
    "ALTER TABLE transfers DISABLE TRIGGER ALL",
    "CREATE TABLE mine (n int)",
    "SET session_replication_role = replica",
];

#[test]
fn what_a_pass_has_no_business_with_is_refused() {
    db_test(async |db| {
        let service = Service::at(db.url()).await;
        service.populate().await;
        service.execute(ROLES).await;
        for (pass, refused) in REFUSED {
            let session = db.client().await;
            session.batch_execute(&format!("SET SESSION AUTHORIZATION {}", group(pass))).await.unwrap();
            for what in refused.iter().chain(REFUSED_TO_ALL) {
                assert_denied(&session, what).await;
            }
        }
        // What renew may write of an account, to be able to lock it, the ledger refuses.
        let renew = db.client().await;
        renew.batch_execute("SET SESSION AUTHORIZATION perennial_renew").await.unwrap();
        let refusal = renew.batch_execute("UPDATE accounts SET kind = 'revenue' WHERE id > 1000").await.unwrap_err();
        assert_eq!(refusal.code().map(|code| code.code()), Some("23514"), "{refusal:?}");
    });
}
