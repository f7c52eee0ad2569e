//! Two connections at once: who attaches a row to a credential and who closes it, transfers over the same wallets, the
//! same keys twice.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::calls::{answer, customer, open_shop, query};
use common::race::Session;
use common::refusal::CHECK;
use common::{balance, number, run, text};
use perennial_testkit::{TestDb, db_test};
use tokio_postgres::Client;

/// Customer 1 with the unused open credential 10, a row 10 that is not on it, and the closer's and the attacher's
/// sessions.
async fn book(db: &TestDb) -> (Client, Session, Session) {
    let client = db.client().await;
    open_shop(&client).await;
    customer(&client, 1, 30_000).await;
    run(
        &client,
        "INSERT INTO credentials (id, telegram_id) VALUES (10, 1);
         INSERT INTO credentials (id, telegram_id, access_group) VALUES (11, 1, 'other');
         INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, expires_at)
         VALUES (10, 1, 'grant', 'basic_30', 11, now() + interval '1 day')",
    )
    .await;
    (client, Session::open(db).await, Session::open(db).await)
}

/// The two ways to attach a row to credential 10.
const ATTACH: [&str; 2] = [
    "INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, expires_at)
     VALUES (1, 'trial', 'basic_30', 10, now() + interval '1 day')",
    "UPDATE subscriptions SET credential_id = 10 WHERE id = 10",
];
const CLOSE: &str = "UPDATE credentials SET closed_at = now() WHERE id = 10";

#[test]
fn who_attaches_while_a_credential_is_being_closed_waits_and_is_refused() {
    for attach in ATTACH {
        db_test(async |db| {
            let (client, closer, attacher) = book(&db).await;
            closer.run(&format!("BEGIN; SELECT FROM credentials WHERE id = 10 FOR UPDATE; {CLOSE}")).await;
            let attacher = attacher.run_until_it_waits(&client, attach).await;
            closer.run("COMMIT").await;
            let refused = attacher.must_be_refused().await;
            assert_eq!(
                (&*refused.sqlstate, refused.constraint.as_deref()),
                (CHECK, Some("subscriptions_active_on_open"))
            );
        });
    }
}

#[test]
fn who_attaches_while_a_closing_is_rolled_back_waits_and_gets_the_credential() {
    for attach in ATTACH {
        db_test(async |db| {
            let (client, closer, attacher) = book(&db).await;
            closer.run(&format!("BEGIN; {CLOSE}")).await;
            let attacher = attacher.run_until_it_waits(&client, attach).await;
            closer.run("ROLLBACK").await;
            attacher.must_end_well().await;
            assert_eq!(number(&client, "SELECT count(*) FROM subscriptions WHERE credential_id = 10").await, 1);
        });
    }
}

#[test]
fn who_closes_while_a_row_is_being_attached_waits_and_is_refused() {
    for attach in ATTACH {
        db_test(async |db| {
            let (client, closer, attacher) = book(&db).await;
            attacher.run(&format!("BEGIN; {attach}")).await;
            let closer = closer.run_until_it_waits(&client, CLOSE).await;
            attacher.run("COMMIT").await;
            let refused = closer.must_be_refused().await;
            assert_eq!((&*refused.sqlstate, refused.constraint.as_deref()), (CHECK, Some("credentials_close_unused")));
        });
    }
}

#[test]
fn who_locks_first_and_looks_in_the_next_statement_sees_the_row_attached_meanwhile() {
    for attach in ATTACH {
        db_test(async |db| {
            let (client, closer, attacher) = book(&db).await;
            attacher.run(&format!("BEGIN; {attach}")).await;
            let skipped = "SELECT id FROM credentials WHERE id = 10 FOR UPDATE SKIP LOCKED";
            assert_eq!(common::texts(closer.client(), skipped).await, [""; 0]);
            // Locked in one statement; the next one decides whether it is in use.
            let locking = "BEGIN; SELECT id FROM credentials WHERE id = 10 FOR UPDATE";
            let closer = closer.run_until_it_waits(&client, locking).await;
            attacher.run("COMMIT").await;
            let (closer, _) = closer.must_end_well().await;
            let used = "SELECT count(*) FROM subscriptions WHERE credential_id = 10 AND status = 'active'";
            assert_eq!(number(closer.client(), used).await, 1);
            closer.run("ROLLBACK").await;
        });
    }
}

#[test]
fn who_pays_while_the_credential_is_being_closed_waits_and_gets_the_next_one() {
    for call in ["perennial_buy(1, 'basic_30', false, 'k')", "perennial_start_trial(1, 'basic_30', 72, 'k')"] {
        db_test(async |db| {
            let (client, closer, buyer) = book(&db).await;
            closer.run(&format!("BEGIN; {CLOSE}")).await;
            let buyer = buyer.run_until_it_waits(&client, &query(call)).await;
            closer.run("COMMIT").await;
            buyer.must_end_well().await;
            let sql = "SELECT c.id <> 10 AND c.closed_at IS NULL AND c.access_group = 'basic'
                       FROM subscriptions s JOIN credentials c ON c.id = s.credential_id WHERE s.id <> 10";
            assert_eq!(text(&client, sql).await, "t");
        });
    }
}

#[test]
fn who_rotates_while_a_row_is_being_attached_waits_and_takes_it_along() {
    db_test(async |db| {
        let (client, rotator, granter) = book(&db).await;
        granter.run(&format!("BEGIN; {}", query("perennial_start_trial(1, 'basic_30', 72, 't')"))).await;
        let rotator = rotator.run_until_it_waits(&client, &query("perennial_rotate(1, 'basic', 'r')")).await;
        granter.run("COMMIT").await;
        rotator.must_end_well().await;
        let sql = "SELECT c.id <> 10 AND c.closed_at IS NULL FROM subscriptions s
                   JOIN credentials c ON c.id = s.credential_id WHERE s.source = 'trial'";
        assert_eq!(text(&client, sql).await, "t");
    });
}

/// Four transfers over two wallets, in opposite order; a third session holds one of the wallets until both have begun.
#[test]
fn two_postings_over_two_wallets_in_opposite_order_do_not_wait_for_each_other() {
    db_test(async |db| {
        let client = db.client().await;
        customer(&client, 1, 1000).await;
        customer(&client, 2, 1000).await;
        let adjust = |key: &str, wallets: [&str; 2]| {
            let [first, second] = wallets.map(|user| format!("(SELECT id FROM accounts WHERE telegram_id = {user})"));
            format!(
                "SELECT ledger_post(ARRAY['{key}1', '{key}2'], ARRAY['adjustment', 'adjustment'],
                 ARRAY[{first}, {second}],
                 ARRAY[3, 3]::bigint[], ARRAY[100, 100]::bigint[], ARRAY[NULL, NULL]::bigint[], now())"
            )
        };
        let (holder, there, back) = (Session::open(&db).await, Session::open(&db).await, Session::open(&db).await);
        // As the ledger locks it; FOR UPDATE would hold up the foreign keys' checks already.
        holder.run("BEGIN; SELECT FROM accounts WHERE telegram_id = 1 FOR NO KEY UPDATE").await;
        // In order of arrival one would hold wallet 2 and wait for 1, the other wait for 1 and then want 2.
        let there = there.run_until_it_waits(&client, &adjust("a", ["1", "2"])).await;
        let back = back.run_until_it_waits(&client, &adjust("b", ["2", "1"])).await;
        holder.run("COMMIT").await;
        there.must_end_well().await;
        back.must_end_well().await;
        assert_eq!((balance(&client, 1).await, balance(&client, 2).await), (800, 800));
    });
}

#[test]
fn two_postings_of_the_same_keys_in_opposite_order_do_not_wait_for_each_other() {
    db_test(async |db| {
        let client = db.client().await;
        customer(&client, 1, 0).await;
        // A moment between two rows, so that each session would hold the key that the other one wants next.
        run(
            &client,
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$;
             CREATE TRIGGER dawdle BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .await;
        let top_up = |keys: [&str; 2]| {
            let [first, second] = keys;
            format!(
                "SELECT l.fresh FROM accounts a, ledger_post(ARRAY['{first}', '{second}'], ARRAY['top_up', 'top_up'],
                 ARRAY[2, 2]::bigint[], ARRAY[a.id, a.id], ARRAY[7, 7]::bigint[], ARRAY[NULL, NULL]::bigint[], now()) l
                 WHERE a.telegram_id = 1"
            )
        };
        let (one, other) = (Session::open(&db).await, Session::open(&db).await);
        let (one_sql, other_sql) = (top_up(["k1", "k2"]), top_up(["k2", "k1"]));
        let (one, other) =
            tokio::join!(common::texts(one.client(), &one_sql), common::texts(other.client(), &other_sql));
        let mut fresh = [one.join(" "), other.join(" ")];
        fresh.sort();
        assert_eq!(fresh, ["f f", "t t"]);
        assert_eq!(balance(&client, 1).await, 14);
    });
}

#[test]
fn the_same_key_twice_at_once_waits_and_gets_the_first_answer() {
    for (call, again) in [
        ("perennial_top_up(1, 500, 'k')", "perennial_top_up(1, 500, 'k')"),
        ("perennial_buy(1, 'basic_30', true, 'k')", "perennial_buy(1, 'basic_30', true, 'k')"),
        ("perennial_start_trial(1, 'basic_30', 72, 'k')", "perennial_start_trial(1, 'basic_30', 72, 'k')"),
        ("perennial_rotate(1, 'other', 'k')", "perennial_rotate(1, 'other', 'k')"),
        ("perennial_cancel(10, 'k')", "perennial_cancel(10, 'k')"),
    ] {
        db_test(async |db| {
            let (client, first, second) = book(&db).await;
            first.run("BEGIN").await;
            let answer_of_first = answer(first.client(), call).await;
            let second = second.run_until_it_waits(&client, &query(again)).await;
            first.run("COMMIT").await;
            let (_, rows) = second.must_end_well().await;
            let answer_of_second: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
            assert_eq!(answer_of_second, answer_of_first, "{call}");
            assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE reason = 'k'").await, 1, "{call}");
        });
    }
}

#[test]
fn the_same_key_after_a_call_that_was_rolled_back_is_a_first_call() {
    db_test(async |db| {
        let (client, first, second) = book(&db).await;
        first.run(&format!("BEGIN; {}", query("perennial_top_up(1, 500, 'k')"))).await;
        let second = second.run_until_it_waits(&client, &query("perennial_top_up(1, 500, 'k')")).await;
        first.run("ROLLBACK").await;
        assert_eq!(second.must_end_well().await.1, ["30500"]);
        assert_eq!(balance(&client, 1).await, 30_500);
    });
}

#[test]
fn the_same_key_with_other_inputs_at_once_is_refused() {
    db_test(async |db| {
        let (client, first, second) = book(&db).await;
        first.run(&format!("BEGIN; {}", query("perennial_top_up(1, 500, 'k')"))).await;
        let second = second.run_until_it_waits(&client, &query("perennial_top_up(1, 501, 'k')")).await;
        first.run("COMMIT").await;
        assert_eq!(second.must_be_refused().await.sqlstate, "PK001");
        assert_eq!(balance(&client, 1).await, 30_500);
    });
}
