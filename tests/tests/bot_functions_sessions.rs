//! The bots' functions in sessions of all kinds: time zones, date styles, search paths, isolation levels, and the role
//! that may call them and do nothing else.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::calls::{NOW, answer, customer, open_shop, query, set_now};
use common::refusal::{Refusal, assert_refused_by_state};
use common::{number, run, text, texts};
use perennial_testkit::{TestDb, db_test};
use serde_json::Value;
use tokio_postgres::Client;

/// Roles and rights, as an operator gives them.
const ROLES: &str = include_str!("../../sql/roles.sql");
/// insufficient_privilege
const DENIED: &str = "42501";

async fn shop(db: &TestDb) -> Client {
    let client = db.client().await;
    open_shop(&client).await;
    run(&client, ROLES).await;
    client
}

/// One of each call for a customer, in an order in which all of them work; `:user` stands for the customer.
const CALLS: [&str; 9] = [
    "perennial_ensure_user(:user, 'ru', 'Europe/Moscow')",
    "perennial_top_up(:user, 50000, 'top:user')",
    "perennial_start_trial(:user, 'basic_30', 72, 'trial:user')",
    "perennial_buy(:user, 'basic_1m', true, 'buy:user')",
    "perennial_grant(:user, 'basic_30', 3, 'grant:user')",
    "perennial_rotate(:user, 'basic', 'rotate:user')",
    "perennial_set_auto_renew((SELECT subscription_id FROM perennial_subscriptions
        WHERE telegram_id = :user AND source = 'payment'), false)",
    "perennial_refund((SELECT payment_id FROM perennial_payments WHERE telegram_id = :user), 'x', 'refund:user')",
    "perennial_cancel((SELECT subscription_id FROM perennial_subscriptions
        WHERE telegram_id = :user AND source = 'grant'), 'cancel:user')",
];

/// All the answers, with times as microseconds and without what differs from customer to customer.
async fn answers(client: &Client, user: i64) -> Vec<Value> {
    let mut all = Vec::new();
    for call in CALLS {
        let mut answer = answer(client, &call.replace(":user", &user.to_string())).await;
        if let Some(fields) = answer.as_object_mut() {
            for own in ["subscription_id", "credential_uuid", "email"] {
                fields.remove(own);
            }
            if let Some(end) = fields.get_mut("expires_at") {
                *end = in_micros(client, end).await;
            }
        } else if answer.is_string() {
            answer = in_micros(client, &answer).await;
        }
        all.push(answer);
    }
    all
}

async fn in_micros(client: &Client, time: &Value) -> Value {
    let sql = format!("SELECT (extract(epoch FROM timestamptz '{}') * 1000000)::bigint", time.as_str().unwrap());
    number(client, &sql).await.into()
}

#[test]
fn answers_do_not_depend_on_the_session() {
    db_test(async |db| {
        let client = shop(&db).await;
        // Near midnight, so that a time zone would move the day and the month.
        set_now(&client, "2026-01-31 21:30:00.123456+00").await;
        let expected = answers(&client, 1).await;
        // A month later: 28 February at the same time in UTC, whatever the time is elsewhere.
        assert_eq!(expected[3]["expires_at"], 1_772_314_200_123_456_i64);
        let settings = [
            "SET TimeZone = 'Europe/Moscow'",
            "SET TimeZone = 'America/Sao_Paulo'; SET DateStyle = 'SQL, DMY'",
            "SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'German'",
            "SET TimeZone = 'Foo5:30'; SET DateStyle = 'Postgres, MDY'; SET IntervalStyle = 'sql_standard'",
            "SET search_path = pg_temp; CREATE TEMP TABLE accounts (x int); CREATE TEMP TABLE users (x int);
             CREATE TEMP TABLE tariffs (x int)",
            "SET search_path = nothing, public; SET standard_conforming_strings = off; SET transform_null_equals = on;
             SET array_nulls = off; SET enable_indexscan = off; SET jit = on; SET jit_above_cost = 0",
            "SET plan_cache_mode = force_generic_plan; SET lc_messages = 'C'; SET row_security = off",
        ];
        for (user, setting) in (2..).zip(settings) {
            let session = db.client().await;
            run(&session, setting).await;
            let calls = if setting.contains("pg_temp") { "SET search_path = pg_temp, public" } else { "SELECT" };
            run(&session, calls).await;
            assert_eq!(answers(&session, user).await, expected, "{setting}");
        }
        // What a call of one session answered, a repetition in another one answers.
        let session = db.client().await;
        run(&session, "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'").await;
        let again = answer(&session, &CALLS[3].replace(":user", "1")).await;
        assert_eq!(in_micros(&session, &again["expires_at"]).await, expected[3]["expires_at"]);
    });
}

/// With an older snapshot a rotation would leave a row that was granted meanwhile on the closed credential, where its
/// user is cut off.
#[test]
fn a_call_at_a_level_that_cannot_see_the_newest_rows_is_refused() {
    db_test(async |db| {
        let client = shop(&db).await;
        customer(&client, 1, 50_000).await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'first')").await;
        for call in [
            "perennial_top_up(1, 5, 'k')",
            "perennial_buy(1, 'basic_30', true, 'k')",
            "perennial_grant(1, 'basic_30', 3, 'k')",
            "perennial_start_trial(1, 'basic_30', 72, 'k')",
            "perennial_cancel(1, 'k')",
            "perennial_set_auto_renew(1, false)",
            "perennial_rotate(1, 'basic', 'k')",
            "perennial_refund(1, 'x', 'k')",
        ] {
            for level in ["REPEATABLE READ", "SERIALIZABLE"] {
                let sql = format!("BEGIN ISOLATION LEVEL {level}; {}", query(call));
                assert_refused_by_state(&client, &sql, "25000").await;
            }
        }
    });
}

#[test]
fn the_role_of_bots_may_call_every_function_and_read_every_view() {
    db_test(async |db| {
        let client = shop(&db).await;
        let expected = answers(&client, 1).await;
        let bot = as_bot(&db).await;
        assert_eq!(answers(&bot, 2).await, expected);
        for view in ["perennial_wallets", "perennial_subscriptions", "perennial_payments"] {
            assert!(number(&bot, &format!("SELECT count(*) FROM {view} WHERE telegram_id = 2")).await > 0, "{view}");
        }
        assert_eq!(number(&bot, "SELECT count(*) FROM perennial_tariffs").await, 4);
        // What it did is in the audit log like any bot's work.
        let actors = "SELECT DISTINCT actor FROM audit_log WHERE telegram_id = 2";
        assert_eq!(texts(&client, actors).await, ["bot"]);
    });
}

/// A session of a role that is nothing but a bot.
async fn as_bot(db: &TestDb) -> Client {
    let bot = db.client().await;
    run(&bot, "SET SESSION AUTHORIZATION perennial_bot").await;
    assert_eq!(text(&bot, "SELECT concat(session_user, current_user)").await, "perennial_botperennial_bot");
    bot
}

#[test]
fn the_role_of_bots_can_neither_read_nor_write_a_table() {
    db_test(async |db| {
        let client = shop(&db).await;
        customer(&client, 1, 500).await;
        let tables = texts(&client, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'").await;
        assert!(tables.len() > 15, "{tables:?}");
        let bot = as_bot(&db).await;
        for table in &tables {
            for sql in [
                format!("SELECT FROM {table}"),
                format!("INSERT INTO {table} DEFAULT VALUES"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table}"),
                format!(
                    "CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()"
                ),
            ] {
                assert_denied(&bot, &sql).await;
            }
        }
        for sql in [
            "UPDATE accounts SET balance_kopecks = 1",
            "UPDATE users SET vip = true",
            "UPDATE perennial_tariffs SET price_kopecks = 0",
            "DELETE FROM perennial_wallets",
            "SELECT nextval('transfers_id_seq')",
            "CREATE TABLE mine (n int)",
            "CREATE FUNCTION price_kopecks(integer, integer, boolean, integer) RETURNS bigint
             LANGUAGE sql AS 'SELECT 0::bigint'",
            "CREATE ROLE mine",
            "ALTER TABLE transfers DISABLE TRIGGER transfers_post",
            "SET session_replication_role = replica",
            "DROP VIEW perennial_tariffs",
            "ALTER FUNCTION perennial_buy(bigint, text, boolean, text) OWNER TO perennial_bot",
        ] {
            assert_denied(&bot, sql).await;
        }
    });
}

#[test]
fn the_role_of_bots_can_call_no_other_function() {
    db_test(async |db| {
        let client = shop(&db).await;
        customer(&client, 1, 500).await;
        let bot = as_bot(&db).await;
        for sql in [
            "SELECT ledger_post(ARRAY['x'], ARRAY['top_up'], ARRAY[2::bigint], ARRAY[1001::bigint],
             ARRAY[1::bigint], ARRAY[NULL::bigint], now())",
            "SELECT audit('x', 1, NULL, NULL, NULL, NULL, now())",
            "SELECT request_end('x', 'null')",
            "SELECT perennial_now()",
            "SELECT price_kopecks(1, 1, false, 0)",
        ] {
            assert_denied(&bot, sql).await;
        }
        // Whatever else there is or will be in the schema.
        run(&client, "CREATE FUNCTION added_later() RETURNS int LANGUAGE sql AS 'SELECT 1'").await;
        run(&client, ROLES).await;
        let callable = "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
                        AND has_function_privilege('perennial_bot', p.oid, 'EXECUTE') ORDER BY 1";
        let mut expected: Vec<&str> = CALLS.iter().map(|call| call.split('(').next().unwrap()).collect();
        expected.sort_unstable();
        assert_eq!(texts(&client, callable).await, expected);
        let readable = "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
                        AND c.relkind NOT IN ('i', 'S')
                        AND has_any_column_privilege('perennial_bot', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                        ORDER BY 1";
        let views = ["perennial_payments", "perennial_subscriptions", "perennial_tariffs", "perennial_wallets"];
        assert_eq!(texts(&client, readable).await, views);
    });
}

async fn assert_denied(bot: &Client, sql: &str) {
    match bot.batch_execute(sql).await {
        Ok(()) => panic!("this was allowed: {sql}"),
        Err(error) => assert_eq!(Refusal::of(&error).sqlstate, DENIED, "{sql}: {error:?}"),
    }
}

#[test]
fn the_roles_may_be_given_again_by_several_at_once_and_set_right_what_was_granted_by_hand() {
    db_test(async |db| {
        let client = shop(&db).await;
        run(
            &client,
            "GRANT SELECT ON users TO perennial_bot; GRANT UPDATE (price_kopecks) ON tariffs TO perennial_bot;
             GRANT EXECUTE ON FUNCTION perennial_now() TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC;
             REVOKE EXECUTE ON FUNCTION perennial_cancel(bigint, text) FROM perennial_bot",
        )
        .await;
        let (one, other, third) = (db.client().await, db.client().await, db.client().await);
        tokio::join!(run(&one, ROLES), run(&other, ROLES), run(&third, ROLES));
        let bot = as_bot(&db).await;
        for sql in [
            "SELECT FROM users",
            "UPDATE tariffs SET price_kopecks = 0",
            "SELECT perennial_now()",
            "CREATE TABLE mine (n int)",
        ] {
            assert_denied(&bot, sql).await;
        }
        assert_eq!(refused_state(&bot, "SELECT perennial_cancel(99, 'k')").await, "PK003");
        assert_eq!(text(&client, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'perennial_bot'").await, "f");
    });
}

async fn refused_state(client: &Client, sql: &str) -> String {
    Refusal::of(&client.batch_execute(sql).await.unwrap_err()).sqlstate
}

/// Names that a bot makes for itself in its temporary schema are not what the functions use.
#[test]
fn temporary_tables_of_a_bot_do_not_deceive_the_functions() {
    db_test(async |db| {
        let client = shop(&db).await;
        customer(&client, 1, 500).await;
        let bot = as_bot(&db).await;
        run(
            &bot,
            "CREATE TEMP TABLE tariffs (code text, access_group text, period_unit text, period_count int,
                price_kopecks bigint, active boolean);
             INSERT INTO tariffs VALUES ('mine', 'basic', 'month', 1200, 0, true);
             CREATE FUNCTION pg_temp.perennial_now() RETURNS timestamptz LANGUAGE sql
                AS $$ SELECT timestamptz '2000-01-01' $$;
             SET search_path = pg_temp, public",
        )
        .await;
        assert_eq!(refused_state(&bot, "SELECT perennial_buy(1, 'mine', true, 'k')").await, "PK003");
        answer(&bot, "perennial_grant(1, 'basic_30', 1, 'k')").await;
        let starts = "SELECT to_jsonb(starts_at) #>> '{}' FROM subscriptions";
        assert_eq!(text(&client, starts).await, NOW);
    });
}
