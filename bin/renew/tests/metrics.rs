//! What the built program writes for the metrics of the books.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::path::Path;
use std::process::Command;

use perennial_testkit::builders::Tariff;
use perennial_testkit::{TestDb, db_test};

fn renew(db: &TestDb, metrics: &Path) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_renew"));
    command
        .env_clear()
        .env("DATABASE_URL", db.passes_url("renew"))
        .args(["--config", "/dev/null", "--metrics-file"])
        .arg(metrics);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::read_to_string(metrics).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_ledger_is_summed_up_and_money_given_back_does_not_lessen_what_was_charged() {
    db_test(async |db| {
        let client = db.client().await;
        Tariff::months("basic_1m", 1, 19_900).put(&client).await;
        client
            .batch_execute(
                "SELECT perennial_ensure_user(u, 'ru', 'UTC') FROM generate_series(1, 2) u;
                 SELECT perennial_top_up(u, 50000, 'in-' || u) FROM generate_series(1, 2) u;
                 SELECT perennial_buy(u, 'basic_1m', true, 'order-' || u) FROM generate_series(1, 2) u;
                 INSERT INTO parked (pass, subscription, tries, reason) SELECT 'renew', s.id, 1, 'of a test' FROM subscriptions s;
                 UPDATE parked SET next_try_at = now() WHERE subscription = (SELECT max(s.id) FROM subscriptions s);
                 INSERT INTO parked (pass, subscription, tries, reason)
                 SELECT 'notify-trials', s.id, 1, 'of a test' FROM subscriptions s",
            )
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("renew.prom");
        let lines = renew(&db, &file);
        for line in [
            "perennial_wallets_kopecks 60200",
            "perennial_revenue_kopecks_total 39800",
            "perennial_refunds_kopecks_total 0",
            "perennial_parked_rows{pass=\"renew\"} 1",
        ] {
            assert!(lines.iter().any(|written| written == line), "{line} is not in\n{}", lines.join("\n"));
        }

        // The pass keeps the sums few.
        let open = client.query_typed_one("SELECT count(*) FROM turnovers WHERE NOT folded", &[]).await.unwrap();
        assert_eq!(open.get::<_, i64>(0), 0);

        let refund = "SELECT perennial_refund((SELECT max(id) FROM payments), 'of a test', 'back-1')";
        client.batch_execute(refund).await.unwrap();
        let lines = renew(&db, &file);
        for line in [
            "perennial_wallets_kopecks 80100",
            "perennial_revenue_kopecks_total 39800",
            "perennial_refunds_kopecks_total 19900",
        ] {
            assert!(lines.iter().any(|written| written == line), "{line} is not in\n{}", lines.join("\n"));
        }
    });
}
