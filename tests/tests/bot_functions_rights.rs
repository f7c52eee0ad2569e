//! What bots call about rights: grants, trials, cancellations, automatic renewal, rotation, coming back.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::calls::{NOW, answer, customer, open_shop, refused_by, set_now};
use common::refusal::INVALID_VALUE;
use common::{balance, number, run, text, texts};
use perennial_testkit::{TestDb, db_test};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// A customer with 300.00, who has bought 30 days when `BOUGHT` is run.
async fn shop(db: &TestDb) -> Client {
    let client = db.client().await;
    open_shop(&client).await;
    customer(&client, 1, 30_000).await;
    client
}

const BUY: &str = "perennial_buy(1, 'basic_30', true, 'bought')";

/// Ends rows as the passes do: a credential that no active row uses is closed with them.
fn ended(which: &str) -> String {
    format!(
        "BEGIN; UPDATE subscriptions SET status = 'expiring' WHERE {which};
         UPDATE credentials c SET closed_at = perennial_now()
         WHERE NOT EXISTS (SELECT FROM subscriptions s WHERE s.credential_id = c.id AND s.status = 'active'); COMMIT;"
    )
}

/// Status, end, automatic renewal and credential's e-mail of all rows, oldest first.
async fn rows(client: &Client) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', s.source, s.status, to_char(s.expires_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI'),
               s.auto_renew, c.email)
               FROM subscriptions s LEFT JOIN credentials c ON c.id = s.credential_id ORDER BY s.id";
    texts(client, sql).await
}

#[test]
fn a_grant_gives_days_free_of_charge_beside_what_is_paid() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, BUY).await;
        let given = answer(&client, "perennial_grant(1, 'basic_30', 5, 'a')").await;
        assert_eq!((&given["subscription_id"], &given["email"]), (&json!(2), &json!("p.1")));
        answer(&client, "perennial_grant(1, 'basic_1m', 7, 'b')").await; // extends by its days, whatever the period
        assert_eq!(rows(&client).await, ["payment active 04-09 12:00 t p.1", "grant active 03-22 12:00 f p.1"]);
        assert_eq!(balance(&client, 1).await, 20_000);
        assert_eq!(number(&client, "SELECT count(*) FROM payments").await, 1);
        // Past its end, it starts from now.
        set_now(&client, "2026-04-01 00:00+00").await;
        answer(&client, "perennial_grant(1, 'basic_30', 1, 'c')").await;
        assert_eq!(rows(&client).await[1], "grant active 04-02 00:00 f p.1");
    });
}

#[test]
fn a_grant_of_no_days_or_to_nobody_is_refused() {
    db_test(async |db| {
        let client = shop(&db).await;
        for days in ["0", "-1", "3661", "NULL"] {
            let call = format!("perennial_grant(1, 'basic_30', {days}, 'k')");
            assert_eq!(refused_by(&client, &call).await, INVALID_VALUE, "{days}");
        }
        assert_eq!(refused_by(&client, "perennial_grant(99, 'basic_30', 1, 'k')").await, "PK003");
        assert_eq!(refused_by(&client, "perennial_grant(1, 'gone_30', 1, 'k')").await, "PK003");
        answer(&client, "perennial_grant(1, 'basic_30', 1, 'k')").await;
        assert_eq!(refused_by(&client, "perennial_grant(1, 'plus_1m', 1, 'l')").await, "PK005");
    });
}

#[test]
fn a_trial_is_given_once_in_a_lifetime() {
    db_test(async |db| {
        let client = shop(&db).await;
        let given = answer(&client, "perennial_start_trial(1, 'basic_30', 72, 'a')").await;
        assert_eq!(given["expires_at"], "2026-03-13T12:00:00+00:00");
        assert_eq!(rows(&client).await, ["trial active 03-13 12:00 f p.1"]);
        assert_eq!(refused_by(&client, "perennial_start_trial(1, 'basic_30', 72, 'b')").await, "PK004");
        run(&client, "UPDATE subscriptions SET status = 'expired', credential_id = NULL").await;
        assert_eq!(refused_by(&client, "perennial_start_trial(1, 'plus_1m', 1, 'b')").await, "PK004");
        // Trial to paid keeps the credential.
        answer(&client, BUY).await;
        assert_eq!(rows(&client).await[1], "payment active 04-09 12:00 t p.1");
    });
}

#[test]
fn a_trial_of_no_time_or_for_nobody_is_refused() {
    db_test(async |db| {
        let client = shop(&db).await;
        for hours in ["0", "-1", "8785", "NULL"] {
            let call = format!("perennial_start_trial(1, 'basic_30', {hours}, 'k')");
            assert_eq!(refused_by(&client, &call).await, INVALID_VALUE, "{hours}");
        }
        assert_eq!(refused_by(&client, "perennial_start_trial(99, 'basic_30', 1, 'k')").await, "PK003");
        assert_eq!(refused_by(&client, "perennial_start_trial(1, 'gone_30', 1, 'k')").await, "PK003");
    });
}

#[test]
fn a_cancellation_ends_the_right_now_and_turns_automatic_renewal_off() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, BUY).await;
        set_now(&client, "2026-03-20 12:00+00").await;
        assert_eq!(answer(&client, "perennial_cancel(1, 'c')").await, "2026-03-20T12:00:00+00:00");
        // By its time alone: the passes do the rest.
        assert_eq!(rows(&client).await, ["payment active 03-20 12:00 f p.1"]);
        assert_eq!(number(&client, "SELECT count(*) FROM credentials WHERE closed_at IS NULL").await, 1);
        assert_eq!(balance(&client, 1).await, 20_000);
    });
}

#[test]
fn a_cancellation_of_what_is_over_moves_nothing() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, BUY).await;
        let end = "2026-04-09T12:00:00+00:00";
        // Past its end and not claimed: the end stays, automatic renewal goes off.
        set_now(&client, "2026-04-09 12:05+00").await;
        assert_eq!(answer(&client, "perennial_cancel(1, 'a')").await, end);
        assert_eq!(rows(&client).await, ["payment active 04-09 12:00 f p.1"]);
        run(&client, &format!("{} UPDATE subscriptions SET auto_renew = true", ended("id = 1"))).await;
        assert_eq!(answer(&client, "perennial_cancel(1, 'b')").await, end);
        assert_eq!(rows(&client).await, ["payment expiring 04-09 12:00 t p.1"]);
        assert_eq!(refused_by(&client, "perennial_cancel(99, 'c')").await, "PK003");
        assert_eq!(refused_by(&client, "perennial_cancel(NULL, 'c')").await, "PK003");
    });
}

#[test]
fn a_purchase_after_a_cancellation_gives_the_paid_days_back() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, BUY).await;
        set_now(&client, "2026-03-20 12:00+00").await;
        answer(&client, "perennial_cancel(1, 'c')").await;
        set_now(&client, "2026-03-20 12:01+00").await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'again')").await;
        assert_eq!(rows(&client).await, ["payment active 05-09 12:00 t p.1"]);
        let periods = "SELECT to_char(period_start AT TIME ZONE 'UTC', 'MM-DD HH24:MI') FROM payments ORDER BY id";
        assert_eq!(texts(&client, periods).await, ["03-10 12:00", "04-09 12:00"]);
    });
}

#[test]
fn a_purchase_past_the_end_of_an_unclaimed_row_keeps_row_and_credential_and_starts_now() {
    db_test(async |db| {
        let client = shop(&db).await;
        set_now(&client, "2026-01-31 12:00+00").await;
        let bought = answer(&client, "perennial_buy(1, 'basic_1m', true, 'a')").await;
        set_now(&client, "2026-02-28 12:00+00").await; // exactly at the end it is over
        answer(&client, "perennial_grant(1, 'basic_30', 1, 'g')").await;
        set_now(&client, "2026-03-05 08:00+00").await;
        let again = answer(&client, "perennial_buy(1, 'basic_1m', true, 'b')").await;
        for field in ["subscription_id", "credential_uuid", "email"] {
            assert_eq!(again[field], bought[field], "{field}");
        }
        // The new beginning is the new anchor.
        assert_eq!(again["expires_at"], "2026-04-05T08:00:00+00:00");
        assert_eq!(number(&client, "SELECT anchor_day FROM subscriptions WHERE id = 1").await, 5);
    });
}

#[test]
fn a_purchase_after_the_row_was_claimed_gets_a_new_row_and_a_new_credential() {
    db_test(async |db| {
        let client = shop(&db).await;
        let bought = answer(&client, BUY).await;
        set_now(&client, "2026-04-09 12:20+00").await;
        run(&client, &ended("true")).await;
        let again = answer(&client, "perennial_buy(1, 'basic_30', false, 'again')").await;
        assert_eq!(rows(&client).await, ["payment expiring 04-09 12:00 t p.1", "payment active 05-09 12:20 f p.2"]);
        assert_ne!(again["credential_uuid"], bought["credential_uuid"]);
    });
}

#[test]
fn a_purchase_makes_renew_look_at_a_parked_row_again() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, BUY).await;
        run(
            &client,
            "INSERT INTO parked (pass, subscription, tries, reason) VALUES ('renew', 1, 3, 'x'), ('expire', 1, 3, 'x');
             UPDATE subscriptions SET short_stage = 'final', short_balance_kopecks = 1, short_price_kopecks = 2",
        )
        .await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'again')").await;
        assert_eq!(texts(&client, "SELECT pass FROM parked").await, ["expire"]);
        let short = "SELECT num_nulls(short_stage, short_balance_kopecks, short_price_kopecks) FROM subscriptions";
        assert_eq!(number(&client, short).await, 3);
    });
}

#[test]
fn automatic_renewal_goes_on_and_off_for_active_paid_rows() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, BUY).await;
        answer(&client, "perennial_grant(1, 'basic_30', 5, 'g')").await;
        for wanted in [false, true, true] {
            assert_eq!(answer(&client, &format!("perennial_set_auto_renew(1, {wanted})")).await, json!(wanted));
            assert_eq!(text(&client, "SELECT auto_renew FROM subscriptions WHERE id = 1").await, text_of(wanted));
        }
        let changes = "SELECT count(*) FROM audit_log WHERE action = 'auto_renew_set'";
        assert_eq!(number(&client, changes).await, 2);

        assert_eq!(refused_by(&client, "perennial_set_auto_renew(2, true)").await, "PK005"); // a grant ends
        run(&client, "UPDATE subscriptions SET status = 'expiring' WHERE id = 1").await;
        assert_eq!(refused_by(&client, "perennial_set_auto_renew(1, true)").await, "PK005");
        assert_eq!(answer(&client, "perennial_set_auto_renew(1, false)").await, json!(false));
        assert_eq!(refused_by(&client, "perennial_set_auto_renew(99, true)").await, "PK003");
        assert_eq!(refused_by(&client, "perennial_set_auto_renew(1, NULL)").await, "22004");
    });
}

/// `renew` would charge days that are paid already, be refused, and park the row: an alarm at an operator's for a
/// customer's two clicks.
#[test]
fn what_was_cancelled_is_bought_again_and_not_switched_on() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, BUY).await;
        set_now(&client, "2026-03-20 12:00+00").await;
        answer(&client, "perennial_cancel(1, 'c')").await;
        assert_eq!(refused_by(&client, "perennial_set_auto_renew(1, true)").await, "PK005");
        assert_eq!(answer(&client, "perennial_set_auto_renew(1, false)").await, json!(false));
        answer(&client, "perennial_buy(1, 'basic_30', false, 'again')").await;
        assert_eq!(answer(&client, "perennial_set_auto_renew(1, true)").await, json!(true));
    });
}

fn text_of(wanted: bool) -> &'static str {
    if wanted { "t" } else { "f" }
}

#[test]
fn a_rotation_moves_live_rows_to_a_new_credential_and_leaves_the_ending_ones() {
    db_test(async |db| {
        let client = shop(&db).await;
        let bought = answer(&client, BUY).await;
        answer(&client, "perennial_start_trial(1, 'basic_30', 1, 't')").await;
        answer(&client, "perennial_grant(1, 'basic_30', 5, 'g')").await;
        run(&client, "UPDATE subscriptions SET status = 'expiring' WHERE source = 'trial'").await;
        let rotated = answer(&client, "perennial_rotate(1, 'basic', 'r')").await;
        assert_eq!(rotated["email"], "p.2");
        assert_ne!(rotated["credential_uuid"], bought["credential_uuid"]);
        assert_eq!(
            rows(&client).await,
            ["payment active 04-09 12:00 t p.1", "trial expiring 03-10 13:00 f p.1", "grant active 03-15 12:00 f p.1"]
                .map(|row| if row.contains("expiring") { row.to_owned() } else { row.replace("p.1", "p.2") })
        );
        let closed = "SELECT closed_at = perennial_now() AND retired_at IS NULL FROM credentials WHERE email = 'p.1'";
        assert_eq!(text(&client, closed).await, "t");
    });
}

#[test]
fn a_rotation_concerns_one_group_and_needs_something_to_rotate() {
    db_test(async |db| {
        let client = shop(&db).await;
        answer(&client, BUY).await;
        answer(&client, "perennial_grant(1, 'plus_1m', 5, 'g')").await;
        answer(&client, "perennial_rotate(1, 'plus', 'r')").await;
        let open = "SELECT concat(access_group, ' ', email) FROM credentials WHERE closed_at IS NULL ORDER BY 1";
        assert_eq!(texts(&client, open).await, ["basic p.1", "plus p.3"]);
        for arguments in ["1, 'vip'", "1, NULL", "99, 'basic'", "NULL, 'basic'"] {
            let call = format!("perennial_rotate({arguments}, 'k')");
            assert_eq!(refused_by(&client, &call).await, "PK003", "{arguments}");
        }
    });
}

/// A setting is anybody's to set; `session_user` is not.
#[test]
fn who_logs_in_as_a_bot_signs_as_a_bot_whatever_the_session_says() {
    db_test(async |db| {
        let client = shop(&db).await;
        let call = |key: &str| format!("SELECT perennial_top_up(1, 1, '{key}')");
        // There may be no such role yet. Who made the schema may sign as he likes.
        run(&client, &format!("SET perennial.actor = 'admin'; {}", call("owner, early"))).await;
        run(&client, include_str!("../../sql/roles.sql")).await;
        run(&client, &call("owner")).await;

        let name = |which: &str| format!("{}_{which}", db.name());
        let (bot, team, heir, clerk) = (name("bot"), name("team"), name("heir"), name("clerk"));
        run(
            &client,
            &format!(
                "CREATE ROLE {bot} NOINHERIT IN ROLE perennial_bot;
                 CREATE ROLE {team} IN ROLE perennial_bot; CREATE ROLE {heir} IN ROLE {team};
                 CREATE ROLE {clerk}; GRANT EXECUTE ON FUNCTION perennial_top_up TO {clerk};
                 GRANT USAGE ON SCHEMA public TO {clerk}"
            ),
        )
        .await;
        for (login, role) in [(&bot, "perennial_bot"), (&heir, "none"), (&clerk, "none")] {
            let session = db.client().await;
            run(&session, &format!("SET SESSION AUTHORIZATION {login}; SET ROLE {role}")).await;
            run(&session, &format!("SET perennial.actor = 'admin'; {}", call(login))).await;
        }
        let signed = "SELECT actor FROM audit_log WHERE action = 'topped_up' ORDER BY id DESC LIMIT 5";
        assert_eq!(texts(&client, signed).await, ["admin", "bot", "bot", "admin", "admin"]);
        for role in [heir, team, bot, clerk] {
            run(&client, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
        }
    });
}

#[test]
fn the_views_show_what_a_bot_needs() {
    db_test(async |db| {
        let client = shop(&db).await;
        let bought = answer(&client, BUY).await;
        answer(&client, "perennial_refund(1, 'x', 'r')").await;
        let row = |view: &str| format!("SELECT to_jsonb(v) FROM {view} v");
        let view = async |name: &str| -> Value { serde_json::from_str(&texts(&client, &row(name)).await[0]).unwrap() };
        assert_eq!(view("perennial_wallets").await, json!({"telegram_id": 1, "balance_kopecks": 30_000}));
        assert_eq!(
            view("perennial_subscriptions").await,
            json!({"subscription_id": 1, "telegram_id": 1, "source": "payment", "tariff": "basic_30", "status": "active",
                "starts_at": NOW, "expires_at": NOW, "auto_renew": false, "access_group": "basic",
                "credential_uuid": bought["credential_uuid"], "email": "p.1"})
        );
        assert_eq!(
            view("perennial_payments").await,
            json!({"payment_id": 1, "telegram_id": 1, "subscription_id": 1, "tariff": "basic_30", "period_start": NOW,
                "period_end": "2026-04-09T12:00:00+00:00", "amount_kopecks": 10_000, "created_at": NOW, "voided_at": NOW})
        );
        let sold = "SELECT string_agg(code, ' ' ORDER BY code) FROM perennial_tariffs";
        assert_eq!(text(&client, sold).await, "basic_1m basic_30 free_30 plus_1m");
    });
}
