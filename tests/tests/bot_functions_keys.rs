//! Idempotency keys of the bots' functions, and the audit row that each call leaves.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::calls::{answer, audit_after, customer, last_audit, open_shop, refused, refused_by, set_now};
use common::refusal::CHECK;
use common::{digest, run};
use perennial_testkit::{TestDb, db_test};
use tokio_postgres::Client;

/// Customer 1 with 500.00, a purchase (subscription 1, payment 1, key `first`), a grant (2) and customer 2.
async fn shop(db: &TestDb) -> Client {
    let client = db.client().await;
    open_shop(&client).await;
    customer(&client, 1, 50_000).await;
    customer(&client, 2, 50_000).await;
    answer(&client, "perennial_buy(1, 'basic_30', true, 'first')").await;
    answer(&client, "perennial_grant(1, 'basic_30', 10, 'second')").await;
    client
}

/// A call under the key `k`, its audit row, and the same call with each input changed.
struct Case {
    call: &'static str,
    audit: &'static str,
    others: &'static [&'static str],
}

const CASES: [Case; 7] = [
    Case {
        call: "perennial_top_up(1, 500, 'k')",
        audit: "bot topped_up 1 - k",
        others: &["perennial_top_up(2, 500, 'k')", "perennial_top_up(1, 501, 'k')"],
    },
    Case {
        call: "perennial_buy(1, 'basic_30', false, 'k')",
        audit: "bot bought 1 1 k",
        others: &[
            "perennial_buy(2, 'basic_30', false, 'k')",
            "perennial_buy(1, 'basic_1m', false, 'k')",
            "perennial_buy(1, 'basic_30', true, 'k')",
            "perennial_buy(1, 'basic_30', NULL, 'k')",
        ],
    },
    Case {
        call: "perennial_grant(1, 'basic_30', 5, 'k')",
        audit: "bot granted 1 2 k",
        others: &[
            "perennial_grant(2, 'basic_30', 5, 'k')",
            "perennial_grant(1, 'basic_1m', 5, 'k')",
            "perennial_grant(1, 'basic_30', 6, 'k')",
        ],
    },
    Case {
        call: "perennial_start_trial(1, 'basic_30', 72, 'k')",
        audit: "bot trial_started 1 3 k",
        others: &[
            "perennial_start_trial(2, 'basic_30', 72, 'k')",
            "perennial_start_trial(1, 'basic_1m', 72, 'k')",
            "perennial_start_trial(1, 'basic_30', 71, 'k')",
        ],
    },
    Case {
        call: "perennial_cancel(1, 'k')",
        audit: "bot cancelled 1 1 k",
        others: &["perennial_cancel(2, 'k')", "perennial_cancel(NULL, 'k')"],
    },
    Case {
        call: "perennial_rotate(1, 'basic', 'k')",
        audit: "bot rotated 1 - k",
        others: &["perennial_rotate(2, 'basic', 'k')", "perennial_rotate(1, 'plus', 'k')"],
    },
    Case {
        call: "perennial_refund(1, 'asked for', 'k')",
        audit: "bot refunded 1 1 asked for",
        others: &[
            "perennial_refund(2, 'asked for', 'k')",
            "perennial_refund(1, 'other', 'k')",
            "perennial_refund(1, NULL, 'k')",
        ],
    },
];

/// Everything that could make a second call answer otherwise.
const LATER: &str = "
    UPDATE tariffs SET price_kopecks = price_kopecks + 1, active = false;
    UPDATE users SET vip = true;
    UPDATE subscriptions SET status = 'expiring' WHERE status = 'active';
    UPDATE credentials SET closed_at = perennial_now() WHERE closed_at IS NULL";

#[test]
fn a_repeated_call_gives_the_first_answer_and_does_nothing_also_after_the_world_changed() {
    for case in &CASES {
        db_test(async |db| {
            let client = shop(&db).await;
            let first = answer(&client, case.call).await;
            let before = digest(&client).await;
            assert_eq!(answer(&client, case.call).await, first, "{}", case.call);
            assert_eq!(digest(&client).await, before, "{}", case.call);

            set_now(&client, "2027-01-01 00:00+00").await;
            answer(&client, "perennial_top_up(1, 3, 'meanwhile')").await;
            run(&client, &format!("BEGIN; {LATER}; COMMIT")).await;
            let before = digest(&client).await;
            assert_eq!(answer(&client, case.call).await, first, "{}", case.call);
            assert_eq!(digest(&client).await, before, "{}", case.call);
        });
    }
}

#[test]
fn a_key_used_again_with_other_inputs_is_refused() {
    for case in &CASES {
        db_test(async |db| {
            let client = shop(&db).await;
            answer(&client, case.call).await;
            for other in case.others {
                let refusal = refused(&client, other).await;
                assert_eq!(refusal.sqlstate, "PK001", "{other}");
                assert!(refusal.detail.unwrap().starts_with("First: {"), "{other}");
            }
        });
    }
}

#[test]
fn a_key_of_one_function_is_refused_by_all_others() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, "perennial_top_up(2, 9, 'k')").await;
        for case in CASES.iter().skip(1) {
            assert_eq!(refused_by(&client, case.call).await, "PK001", "{}", case.call);
        }
        // Upper and lower case are two keys.
        answer(&client, "perennial_top_up(2, 10, 'K')").await;
    });
}

#[test]
fn a_call_without_a_key_is_refused() {
    db_test(async |db| {
        let client = shop(&db).await;
        for case in &CASES {
            for none in ["NULL", "''"] {
                let call = case.call.replace("'k'", none);
                assert_eq!(refused_by(&client, &call).await, "22004", "{call}");
            }
            let long = case.call.replace("'k'", &format!("'{}'", "k".repeat(201)));
            let refusal = refused(&client, &long).await;
            assert_eq!((&*refusal.sqlstate, refusal.constraint.as_deref()), (CHECK, Some("requests_key_not_empty")));
        }
        let longest = format!("perennial_top_up(1, 1, '{}')", "я".repeat(200));
        answer(&client, &longest).await;
    });
}

#[test]
fn every_call_writes_one_audit_row_and_a_repetition_none() {
    for case in &CASES {
        db_test(async |db| {
            let client = shop(&db).await;
            let last = last_audit(&client).await;
            answer(&client, case.call).await;
            answer(&client, case.call).await;
            assert_eq!(audit_after(&client, last).await, [case.audit], "{}", case.call);
        });
    }
}

#[test]
fn an_audit_row_says_what_was_and_what_is() {
    db_test(async |db| {
        let client = shop(&db).await;
        let last = last_audit(&client).await;
        answer(&client, "perennial_set_auto_renew(1, false)").await;
        answer(&client, "perennial_top_up(1, 500, 'k')").await;
        answer(&client, "perennial_refund(1, 'asked for', 'l')").await;
        let sql = format!(
            "SELECT concat_ws(' ', action, before ->> 'auto_renew', after ->> 'auto_renew', before ->> 'balance_kopecks',
             after ->> 'balance_kopecks', after ->> 'amount_kopecks', at = perennial_now())
             FROM audit_log WHERE id > {last} ORDER BY id"
        );
        let rows = common::texts(&client, &sql).await;
        assert_eq!(rows, ["auto_renew_set true false t", "topped_up 40000 40500 t", "refunded false false 10000 t"]);
    });
}

#[test]
fn a_refused_call_leaves_no_audit_row_and_its_key_free() {
    db_test(async |db| {
        let client = shop(&db).await;
        let calls = [
            "perennial_buy(1, 'plus_1m', true, 'k')",
            "perennial_grant(99, 'basic_30', 5, 'k')",
            "perennial_refund(99, 'x', 'k')",
        ];
        for call in calls {
            refused(&client, call).await; // asserts that nothing changed
        }
        answer(&client, "perennial_top_up(1, 500, 'k')").await;
    });
}
