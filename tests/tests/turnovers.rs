//! The ledger's sums by time: folded or not they are the ledger's, and nobody waits for them. The charges here pay for
//! nothing, so of the checks that run after other database tests only the one of these sums is asked.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::door::{door, options};
use common::ledger::{charge, post, top_up, wallets};
use common::{number, run, text};
use futures_util::future::join_all;
use perennial_core::db::LedgerTotals;
use perennial_core::money::Kopecks;
use perennial_testkit::{TestDb, db_test_unchecked};
use tokio_postgres::Client;

const FOLD: &str = "SELECT turnovers_fold('2026-06-01 12:00Z')";
const ALL: &str =
    "SELECT string_agg(format('%s %s %s %s', to_char(t.begins AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), t.kind,
    t.transfers, t.kopecks), ', ' ORDER BY t.begins, t.kind, t.id) FROM turnovers t";

async fn posted(client: &Client, key: &str, kind: &str, accounts: (i64, i64), kopecks: i64, at: &str) {
    let (debit, credit) = accounts;
    run(
        client,
        &format!(
            "SELECT * FROM ledger_post(ARRAY['{key}'], ARRAY['{kind}'], ARRAY[{debit}]::bigint[], ARRAY[{credit}]::bigint[],
                ARRAY[{kopecks}]::bigint[], ARRAY[NULL]::bigint[], '{at}')"
        ),
    )
    .await;
}

/// What `perennial verify` says of the sums.
async fn differences(client: &Client) -> usize {
    let check = include_str!("../../sql/checks/turnovers_match_ledger.sql");
    client.query_typed(check, &[]).await.unwrap().len()
}

async fn totals(db: &TestDb) -> LedgerTotals {
    door(db, options()).run_tx("totals", async |tx| tx.read_ledger_totals().await).await.unwrap()
}

#[test]
fn rows_of_a_quarter_become_one_and_old_quarters_a_day() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        let wallet = wallets(&client, 1).await[0];
        posted(&client, "in:1", "top_up", (2, wallet), 1_000, "2026-01-05 23:59Z").await;
        posted(&client, "in:2", "top_up", (2, wallet), 500, "2026-01-06 00:00Z").await;
        posted(&client, "in:3", "top_up", (2, wallet), 70, "2026-01-06 00:15Z").await;
        posted(&client, "renew:1", "charge", (wallet, 1), 30, "2026-06-01 11:44:59.999Z").await;
        posted(&client, "renew:2", "charge", (wallet, 1), 30, "2026-06-01 11:45Z").await;
        posted(&client, "buy:1", "charge", (wallet, 1), 40, "2026-06-01 11:59Z").await;
        posted(&client, "renew:3", "charge", (wallet, 1), 30, "2026-06-01 11:59Z").await;
        posted(&client, "less", "adjustment", (wallet, 3), 5, "2026-06-01 11:59Z").await;
        let before = totals(&db).await;
        assert_eq!(before, LedgerTotals { wallets: Kopecks(1_435), charged: Kopecks(130), refunded: Kopecks::ZERO });
        assert_eq!(number(&client, FOLD).await, 8);
        let folded = "01-05 00:00 top_up 1 1000, 01-06 00:00 top_up 2 570, 06-01 11:30 renewal 1 30, \
            06-01 11:45 correction 1 -5, 06-01 11:45 purchase 1 40, 06-01 11:45 renewal 2 60";
        assert_eq!(text(&client, ALL).await, folded);
        assert_eq!(number(&client, FOLD).await, 0);

        // What comes later is added, also to a quarter that is a day by now.
        posted(&client, "renew:4", "charge", (wallet, 1), 30, "2026-06-01 11:50Z").await;
        posted(&client, "in:4", "top_up", (2, wallet), 1, "2026-01-06 17:00Z").await;
        assert_eq!(number(&client, FOLD).await, 2);
        let folded = folded.replace("renewal 2 60", "renewal 3 90").replace("top_up 2 570", "top_up 3 571");
        assert_eq!(text(&client, ALL).await, folded);
        // A year on all of it is days.
        let next_year = "SELECT turnovers_fold('2027-06-01 12:00Z')";
        assert_eq!(number(&client, next_year).await, 4);
        assert_eq!(number(&client, next_year).await, 0);
        assert_eq!(
            text(&client, ALL).await,
            "01-05 00:00 top_up 1 1000, 01-06 00:00 top_up 3 571, 06-01 00:00 correction 1 -5, \
             06-01 00:00 purchase 1 40, 06-01 00:00 renewal 4 120"
        );
        assert_eq!((totals(&db).await.wallets, differences(&client).await), (Kopecks(1_406), 0));
    });
}

#[test]
fn folding_beside_postings_and_other_folds_loses_nothing_and_is_never_seen_half_done() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        let wallets = wallets(&client, 4).await;
        let posting = wallets.iter().map(async |wallet| {
            let client = db.client().await;
            for nth in 0..60 {
                post(&client, &[top_up(&format!("in:{wallet}:{nth}"), *wallet, 10)]).await.unwrap();
                post(&client, &[charge(&format!("renew:{wallet}:{nth}"), *wallet, 3)]).await.unwrap();
            }
        });
        let folding = (0..3).map(|_| async {
            let database = door(&db, options());
            for _ in 0..40 {
                database.run_tx("fold", async |tx| tx.fold_turnovers().await).await.unwrap();
            }
        });
        let reading = async {
            let database = door(&db, options());
            let mut before = Kopecks::ZERO;
            for _ in 0..80 {
                let totals = database.run_tx("totals", async |tx| tx.read_ledger_totals().await).await.unwrap();
                assert!(totals.charged >= before, "{totals:?} after {before:?}");
                before = totals.charged;
            }
        };
        tokio::join!(join_all(posting), join_all(folding), reading);
        let database = door(&db, options());
        while database.run_tx("fold", async |tx| tx.fold_turnovers().await).await.unwrap() > 0 {}
        assert_eq!(number(&client, "SELECT count(*) FROM turnovers WHERE NOT folded").await, 0);
        let totals = totals(&db).await;
        assert_eq!((totals.wallets, totals.charged), (Kopecks(4 * 60 * 7), Kopecks(4 * 60 * 3)));
        assert_eq!(differences(&client).await, 0);
    });
}

#[test]
fn sums_beyond_bigint_stop_nobody() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        for wallet in wallets(&client, 3).await {
            posted(&client, &format!("in:{wallet}"), "top_up", (2, wallet), i64::MAX, "2026-06-01 11:00Z").await;
        }
        assert_eq!(number(&client, FOLD).await, 3);
        assert_eq!(totals(&db).await.wallets, Kopecks(i64::MAX));
    });
}

#[test]
fn what_was_damaged_is_added_up_anew() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        let wallet = wallets(&client, 1).await[0];
        posted(&client, "in:1", "top_up", (2, wallet), 1_000, "2026-06-01 11:00Z").await;
        posted(&client, "buy:1", "charge", (wallet, 1), 40, "2026-06-01 11:59Z").await;
        run(&client, "UPDATE turnovers SET kopecks = -5 WHERE kind = 'top_up'").await;
        assert_eq!(differences(&client).await, 1);
        // Less than nothing is not hidden: an alert waits for it.
        assert_eq!(totals(&db).await.wallets, Kopecks(-45));
        run(&client, "SELECT turnovers_rebuild()").await;
        assert_eq!(differences(&client).await, 0);
        assert_eq!(text(&client, ALL).await, "06-01 11:00 top_up 1 1000, 06-01 11:45 purchase 1 40");
    });
}
