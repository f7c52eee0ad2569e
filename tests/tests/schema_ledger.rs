//! What the database refuses in the ledger, whoever asks: accounts, balances, transfers, the audit log.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::refusal::{CHECK, FOREIGN_KEY, NOT_NULL, UNIQUE, assert_refused, assert_refused_by_state, refusal};
use common::{balance, digest, number, run, wallet};
use perennial_testkit::{TestDb, db_test};
use tokio_postgres::Client;

/// Two customers with 100.00 each; their wallets are 1001 and 1002, their top-ups transfers 1 and 2.
async fn book(db: &TestDb) -> Client {
    let client = db.client().await;
    run(
        &client,
        "INSERT INTO users (telegram_id) VALUES (1), (2);
         INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks)
         VALUES ('in:1', 'top_up', 2, 1001, 10000), ('in:2', 'top_up', 2, 1002, 10000);
         INSERT INTO audit_log (actor, action, telegram_id) VALUES ('admin', 'topped_up', 1)",
    )
    .await;
    assert_eq!((wallet(&client, 1).await, wallet(&client, 2).await), (1001, 1002));
    client
}

/// An INSERT of one transfer.
fn transfer(kind: &str, debit: i64, credit: i64, amount: i64, reverses: &str) -> String {
    format!(
        "INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks, reverses)
         VALUES ('new', '{kind}', {debit}, {credit}, {amount}, {reverses})"
    )
}

#[test]
fn an_overdraft_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        assert_refused(&client, &transfer("charge", 1001, 1, 10_001, "NULL"), CHECK, "accounts_wallet_not_overdrawn")
            .await;
        // Neither may one statement take more than there is in two parts.
        let two = "INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks)
                   VALUES ('a', 'charge', 1001, 1, 6000), ('b', 'charge', 1001, 1, 6000)";
        assert_refused(&client, two, CHECK, "accounts_wallet_not_overdrawn").await;
        let adjustment = transfer("adjustment", 1001, 3, 10_001, "NULL");
        assert_refused(&client, &adjustment, CHECK, "accounts_wallet_not_overdrawn").await;

        run(&client, &transfer("adjustment", 1001, 3, 10_000, "NULL")).await;
        assert_eq!(balance(&client, 1).await, 0);
        // What was spent cannot be taken back out of the wallet.
        let reversal = transfer("reversal", 1001, 2, 10_000, "1").replace("'new'", "'back'");
        assert_refused(&client, &reversal, CHECK, "accounts_wallet_not_overdrawn").await;
    });
}

#[test]
fn an_amount_that_is_not_positive_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        for amount in [0, -1, i64::MIN + 1] {
            let sql = transfer("top_up", 2, 1001, amount, "NULL");
            assert_refused(&client, &sql, CHECK, "transfers_amount_positive").await;
        }
    });
}

#[test]
fn a_balance_beyond_a_bigint_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        for amount in [i64::MAX, i64::MAX - 9_999] {
            assert_refused_by_state(&client, &transfer("top_up", 2, 1001, amount, "NULL"), "22003").await;
        }
        run(&client, &transfer("top_up", 2, 1001, i64::MAX - 10_000, "NULL")).await;
        assert_eq!(balance(&client, 1).await, i64::MAX);
    });
}

#[test]
fn a_transfer_is_never_changed_deleted_or_truncated() {
    db_test(async |db| {
        let client = book(&db).await;
        for sql in [
            "UPDATE transfers SET amount_kopecks = 1 WHERE id = 1",
            "UPDATE transfers SET idempotency_key = 'other' WHERE id = 1",
            "UPDATE transfers SET amount_kopecks = amount_kopecks",
            "DELETE FROM transfers WHERE id = 1",
            "TRUNCATE transfers CASCADE",
            "INSERT INTO transfers SELECT * FROM transfers ON CONFLICT (id) DO UPDATE SET amount_kopecks = 1",
            "WITH gone AS (DELETE FROM transfers RETURNING 1) SELECT count(*) FROM gone",
        ] {
            assert_refused(&client, sql, CHECK, "transfers_append_only").await;
        }
    });
}

#[test]
fn an_audit_row_is_never_changed_deleted_or_truncated() {
    db_test(async |db| {
        let client = book(&db).await;
        for sql in [
            "UPDATE audit_log SET reason = 'other'",
            "DELETE FROM audit_log",
            "TRUNCATE audit_log",
            "INSERT INTO audit_log SELECT * FROM audit_log ON CONFLICT (id) DO UPDATE SET action = 'other'",
        ] {
            assert_refused(&client, sql, CHECK, "audit_log_append_only").await;
        }
    });
}

#[test]
fn a_balance_is_written_by_the_ledger_alone() {
    db_test(async |db| {
        let client = book(&db).await;
        for sql in [
            "UPDATE accounts SET balance_kopecks = 20000 WHERE id = 1001",
            "UPDATE accounts SET balance_kopecks = balance_kopecks + 1",
            "UPDATE accounts SET balance_kopecks = NULL WHERE id = 1001",
            "UPDATE accounts SET balance_kopecks = 0 WHERE id = 1",
            "DO $$ BEGIN UPDATE accounts SET balance_kopecks = 0 WHERE id = 1001; END $$",
            "WITH paid AS (UPDATE accounts SET balance_kopecks = 1 WHERE id = 1001 RETURNING 1) SELECT 1 FROM paid",
            "INSERT INTO accounts (id, kind, telegram_id, balance_kopecks) VALUES (1001, 'wallet', 1, 0)
             ON CONFLICT (id) DO UPDATE SET balance_kopecks = 5",
        ] {
            assert_refused(&client, sql, CHECK, "accounts_balance_is_the_ledgers").await;
        }
    });
}

#[test]
fn an_account_that_starts_with_money_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        let sql = "INSERT INTO accounts (kind, telegram_id, balance_kopecks) VALUES ('wallet', 1, 500)";
        assert_refused(&client, sql, CHECK, "accounts_start_empty").await;
        let sql = "INSERT INTO accounts (kind, balance_kopecks) VALUES ('revenue', 1)";
        assert_refused(&client, sql, CHECK, "accounts_start_empty").await;
    });
}

#[test]
fn an_account_is_never_deleted() {
    db_test(async |db| {
        let client = book(&db).await;
        run(&client, "INSERT INTO users (telegram_id) VALUES (3)").await; // its wallet has no transfer to hold it
        for sql in ["DELETE FROM accounts WHERE telegram_id = 3", "DELETE FROM accounts", "TRUNCATE accounts CASCADE"] {
            assert_refused(&client, sql, CHECK, "accounts_never_deleted").await;
        }
        assert_eq!(refusal(&client, "TRUNCATE users CASCADE").await.sqlstate, CHECK);
        let sql = "DELETE FROM users WHERE telegram_id = 3";
        assert_refused(&client, sql, FOREIGN_KEY, "accounts_telegram_id_fkey").await;
    });
}

#[test]
fn an_account_keeps_its_id_kind_and_owner() {
    db_test(async |db| {
        let client = book(&db).await;
        run(&client, "INSERT INTO users (telegram_id) VALUES (3)").await;
        for sql in [
            "UPDATE accounts SET id = 7 WHERE telegram_id = 3",
            "UPDATE accounts SET kind = 'revenue', telegram_id = NULL, balance_kopecks = NULL WHERE telegram_id = 3",
            "UPDATE accounts SET telegram_id = 3 WHERE telegram_id = 1",
            "UPDATE accounts SET kind = 'adjustment' WHERE id = 1",
        ] {
            let refused = refusal(&client, sql).await;
            // Where a balance would change, too, that rule may speak first: triggers fire in the order of their names.
            let names = ["accounts_identity_is_fixed", "accounts_balance_is_the_ledgers"];
            assert!(names.contains(&refused.constraint.as_deref().unwrap()), "{sql}: {refused:?}");
        }
        let sql = "UPDATE users SET telegram_id = 9 WHERE telegram_id = 3";
        assert_refused(&client, sql, FOREIGN_KEY, "accounts_telegram_id_fkey").await;
    });
}

#[test]
fn a_user_has_one_wallet_and_there_is_one_account_of_each_other_kind() {
    db_test(async |db| {
        let client = book(&db).await;
        let insert = "INSERT INTO accounts (kind, telegram_id, balance_kopecks) VALUES";
        for (values, sqlstate, constraint) in [
            ("('wallet', 1, 0)", UNIQUE, "accounts_one_wallet_a_user"),
            ("('revenue', NULL, NULL)", UNIQUE, "accounts_one_of_each_system_kind"),
            ("('wallet', NULL, 0)", CHECK, "accounts_wallet_has_owner"),
            ("('wallet', 1, NULL)", CHECK, "accounts_wallet_has_balance"),
            ("('bank', NULL, NULL)", CHECK, "accounts_kind_known"),
            ("('wallet', 99, 0)", FOREIGN_KEY, "accounts_telegram_id_fkey"),
        ] {
            assert_refused(&client, &format!("{insert} {values}"), sqlstate, constraint).await;
        }
    });
}

#[test]
fn a_transfer_whose_accounts_do_not_fit_its_kind_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        let accounts = [1, 2, 3, 1001, 1002];
        for kind in ["top_up", "charge", "adjustment"] {
            for (debit, credit) in accounts.iter().flat_map(|d| accounts.iter().map(move |c| (*d, *c))) {
                let sql = transfer(kind, debit, credit, 1, "NULL");
                let fits = match kind {
                    "top_up" => debit == 2 && credit > 1000,
                    "charge" => debit > 1000 && credit == 1,
                    _ => (debit == 3 && credit > 1000) || (debit > 1000 && credit == 3),
                };
                if debit == credit {
                    assert_refused(&client, &sql, CHECK, "transfers_two_accounts").await;
                } else if fits {
                    run(&client, &format!("BEGIN; {sql}; ROLLBACK")).await;
                } else {
                    assert_refused(&client, &sql, CHECK, "transfers_accounts_fit_kind").await;
                }
            }
        }
        assert_refused(&client, &transfer("gift", 2, 1001, 1, "NULL"), CHECK, "transfers_kind_known").await;
        assert_refused(&client, &transfer("top_up", 2, 99, 1, "NULL"), FOREIGN_KEY, "transfers_accounts_exist").await;
        assert_refused(&client, &transfer("charge", 99, 1, 1, "NULL"), FOREIGN_KEY, "transfers_accounts_exist").await;
        let nobody = "INSERT INTO transfers (idempotency_key, kind, credit_account, amount_kopecks)
                      VALUES ('a', 'top_up', 1001, 1)";
        assert_eq!(refusal(&client, nobody).await.sqlstate, NOT_NULL);
    });
}

#[test]
fn a_reversal_is_of_one_transfer_with_its_accounts_swapped_and_its_amount() {
    db_test(async |db| {
        let client = book(&db).await;
        run(&client, &transfer("adjustment", 1001, 3, 700, "NULL").replace("'new'", "'out'")).await;
        let fit = "transfers_accounts_fit_kind";
        for (sql, constraint) in [
            (transfer("reversal", 3, 1001, 699, "3"), fit),
            (transfer("reversal", 3, 1001, 701, "3"), fit),
            (transfer("reversal", 1001, 3, 700, "3"), fit),
            (transfer("reversal", 3, 1002, 700, "3"), fit),
            (transfer("reversal", 2, 1001, 700, "3"), fit),
            (transfer("reversal", 3, 1001, 700, "2"), fit),
            (transfer("reversal", 3, 1001, 700, "NULL"), "transfers_reversal_names_its_transfer"),
            (transfer("top_up", 2, 1001, 700, "1"), "transfers_reversal_names_its_transfer"),
        ] {
            assert_refused(&client, &sql, CHECK, constraint).await;
        }
        let unknown = transfer("reversal", 3, 1001, 700, "999");
        assert_eq!(refusal(&client, &unknown).await.sqlstate, FOREIGN_KEY);

        run(&client, &transfer("reversal", 3, 1001, 700, "3").replace("'new'", "'back'")).await;
        assert_eq!(balance(&client, 1).await, 10_000);
        let reversal = number(&client, "SELECT id FROM transfers WHERE idempotency_key = 'back'").await;
        assert_refused(&client, &transfer("reversal", 3, 1001, 700, "3"), UNIQUE, "transfers_reverses_key").await;
        let of_a_reversal = transfer("reversal", 1001, 3, 700, &reversal.to_string());
        assert_refused(&client, &of_a_reversal, CHECK, fit).await;
        let itself = transfer("reversal", 3, 1001, 700, "77")
            .replace("transfers (", "transfers (id, ")
            .replace("('new'", "(77, 'new'");
        assert_refused(&client, &itself, CHECK, fit).await;
    });
}

#[test]
fn a_used_idempotency_key_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        let sql = transfer("top_up", 2, 1001, 10_000, "NULL").replace("'new'", "'in:1'");
        assert_refused(&client, &sql, UNIQUE, "transfers_idempotency_key_key").await;
        let sql = transfer("top_up", 2, 1001, 10_000, "NULL").replace("'new'", "''");
        assert_refused(&client, &sql, CHECK, "transfers_key_not_empty").await;
    });
}

#[test]
fn balances_follow_from_transfers_however_they_are_written() {
    db_test(async |db| {
        let client = book(&db).await;
        let columns = "transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks)";
        for (sql, one, two) in [
            // Several rows, both wallets, both directions.
            (
                format!(
                    "INSERT INTO {columns} VALUES ('a', 'top_up', 2, 1001, 5), ('b', 'adjustment', 1002, 3, 7),
                     ('c', 'adjustment', 1001, 3, 2)"
                ),
                3,
                -7,
            ),
            // Two statements in one.
            (
                format!(
                    "WITH x AS (INSERT INTO {columns} VALUES ('d', 'top_up', 2, 1001, 20) RETURNING 1),
                      y AS (INSERT INTO {columns} VALUES ('e', 'top_up', 2, 1001, 30) RETURNING 1) SELECT 1 FROM x, y"
                ),
                50,
                0,
            ),
            // Rows that are there already count once, and a statement without rows not at all.
            (
                format!(
                    "INSERT INTO {columns} VALUES ('a', 'top_up', 2, 1001, 5), ('f', 'top_up', 2, 1001, 1)
                     ON CONFLICT DO NOTHING"
                ),
                1,
                0,
            ),
            (format!("INSERT INTO {columns} SELECT 'g', 'top_up', 2, 1001, 1 WHERE false"), 0, 0),
            // From a function, and more than the wallet held before but not more than it gets.
            (
                format!(
                    "DO $$ BEGIN INSERT INTO {columns} VALUES ('h', 'adjustment', 1002, 3, 20000),
                     ('i', 'top_up', 2, 1002, 20000); END $$"
                ),
                0,
                0,
            ),
        ] {
            let before = (balance(&client, 1).await, balance(&client, 2).await);
            run(&client, &sql).await;
            let after = (balance(&client, 1).await, balance(&client, 2).await);
            assert_eq!(after, (before.0 + one, before.1 + two), "{sql}");
        }
    });
}

/// Each guard, and a statement that only it stops: these tests can fail.
#[test]
fn without_its_trigger_each_forbidden_change_goes_through() {
    db_test(async |db| {
        let client = book(&db).await;
        let before = digest(&client).await;
        let append_only = "transfers DISABLE TRIGGER transfers_append_only";
        let posts = "transfers DISABLE TRIGGER transfers_post";
        for (guards, sql) in [
            (&[append_only][..], "UPDATE transfers SET amount_kopecks = 1 WHERE id = 1"),
            (&[append_only], "DELETE FROM transfers WHERE id = 1"),
            (&[append_only, "payments DISABLE TRIGGER payments_never_deleted"], "TRUNCATE transfers CASCADE"),
            (&["audit_log DISABLE TRIGGER audit_log_append_only"], "DELETE FROM audit_log"),
            (
                &["accounts DISABLE TRIGGER accounts_balance_is_the_ledgers"],
                "UPDATE accounts SET balance_kopecks = 5 WHERE id = 1001",
            ),
            (
                &["accounts DISABLE TRIGGER accounts_start_empty", "users DISABLE TRIGGER users_open_wallet"],
                "INSERT INTO users (telegram_id) VALUES (9);
                 INSERT INTO accounts (kind, telegram_id, balance_kopecks) VALUES ('wallet', 9, 500)",
            ),
            (
                &["accounts DISABLE TRIGGER accounts_identity_is_fixed"],
                "UPDATE accounts SET id = 50 WHERE kind = 'adjustment'",
            ),
            (&[posts], &transfer("charge", 1001, 1, 10_001, "NULL")),
            (&[posts], &transfer("top_up", 1, 1001, 1, "NULL")),
        ] {
            let disabled: String = guards.iter().map(|guard| format!("ALTER TABLE {guard};")).collect();
            run(&client, &format!("BEGIN; {disabled} {sql}; ROLLBACK")).await;
        }
        assert_eq!(digest(&client).await, before);
    });
}
