//! What the database refuses about credentials and subscriptions, whoever asks: both go one way, and an active row
//! stands on an open credential of its own user.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::refusal::{
    CHECK, FOREIGN_KEY, NOT_NULL, UNIQUE, assert_refused, assert_refused_at_commit, assert_refused_by_state, refusal,
};
use common::{number, run, text};
use perennial_testkit::{TestDb, db_test};
use tokio_postgres::Client;

/// Customers 1 to 4. Credentials: 1 open with an active row (1), 2 open and unused, both in group basic; 3 closing with
/// an expiring row (3), 4 retired, its row (4) expired, its user now on 5, open, with an active row (5).
async fn book(db: &TestDb) -> Client {
    let client = db.client().await;
    run(
        &client,
        "INSERT INTO users (telegram_id) VALUES (1), (2), (3), (4);
         INSERT INTO credentials (id, telegram_id, closed_at, retired_at) VALUES (1, 1, NULL, NULL), (2, 2, NULL, NULL),
            (3, 3, now(), NULL), (4, 4, now(), now()), (5, 4, NULL, NULL);
         INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, status, expires_at) VALUES
            (1, 1, 'payment', 'basic_1m', 1, 'active', now() + interval '9 days'),
            (3, 3, 'payment', 'basic_1m', 3, 'expiring', now()), (4, 4, 'payment', 'basic_1m', NULL, 'expired', now()),
            (5, 4, 'payment', 'basic_1m', 5, 'active', now() + interval '9 days');
         ALTER TABLE credentials ALTER id RESTART WITH 100;
         ALTER TABLE subscriptions ALTER id RESTART WITH 100",
    )
    .await;
    client
}

/// An INSERT of one subscription.
fn row(user: i64, source: &str, credential: &str, status: &str) -> String {
    format!(
        "INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, status, expires_at)
         VALUES ({user}, '{source}', 'basic_1m', {credential}, '{status}', now() + interval '1 day')"
    )
}

#[test]
fn a_second_open_credential_of_a_user_in_a_group_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        let sql = "INSERT INTO credentials (telegram_id) VALUES (1)";
        assert_refused(&client, sql, UNIQUE, "credentials_one_open_a_group").await;
        run(&client, "INSERT INTO credentials (telegram_id, access_group) VALUES (1, 'plus')").await;
        run(&client, "INSERT INTO credentials (telegram_id) VALUES (3)").await; // the earlier one is closing
    });
}

#[test]
fn a_credential_gets_the_e_mail_of_its_number_and_a_uuid_of_its_own() {
    db_test(async |db| {
        let client = book(&db).await;
        assert_eq!(
            text(&client, "SELECT string_agg(email, ' ' ORDER BY id) FROM credentials").await,
            "p.1 p.2 p.3 p.4 p.5"
        );
        assert_eq!(number(&client, "SELECT count(DISTINCT uuid) FROM credentials").await, 5);
        run(&client, "UPDATE installation SET owner_prefix = 'bot-7.'").await;
        run(&client, "INSERT INTO credentials (id, telegram_id, access_group) VALUES (70, 1, 'plus')").await;
        assert_eq!(text(&client, "SELECT email FROM credentials WHERE id = 70").await, "bot-7.70");

        let again = |column: &str| {
            format!(
                "INSERT INTO credentials (telegram_id, access_group, {column})
                 SELECT 1, 'third', {column} FROM credentials WHERE id = 4"
            )
        };
        assert_refused(&client, &again("uuid"), UNIQUE, "credentials_uuid_key").await;
        assert_refused(&client, &again("email"), UNIQUE, "credentials_email_key").await;
        for email in ["P.9", "é", "a b", ""] {
            let sql =
                format!("INSERT INTO credentials (telegram_id, access_group, email) VALUES (1, 'third', '{email}')");
            assert_refused(&client, &sql, CHECK, "credentials_email_is_plain").await;
        }
        for (set, constraint) in [
            ("owner_prefix = 'P.'", "installation_owner_prefix_is_plain"),
            ("owner_prefix = ''", "installation_owner_prefix_is_plain"),
            ("id = 2", "installation_is_single"),
        ] {
            assert_refused(&client, &format!("UPDATE installation SET {set}"), CHECK, constraint).await;
        }
    });
}

#[test]
fn a_credential_is_never_opened_again() {
    db_test(async |db| {
        let client = book(&db).await;
        for (id, set) in [
            (3, "closed_at = NULL"),
            (3, "closed_at = closed_at + interval '1 second'"),
            (4, "retired_at = NULL"),
            (4, "retired_at = retired_at - interval '1 second'"),
            (4, "closed_at = NULL, retired_at = NULL"),
        ] {
            let sql = format!("UPDATE credentials SET {set} WHERE id = {id}");
            assert_refused(&client, &sql, CHECK, "credentials_go_one_way").await;
        }
        let sql = "UPDATE credentials SET retired_at = now() WHERE id = 2";
        assert_refused(&client, sql, CHECK, "credentials_close_before_retire").await;
        run(&client, "UPDATE credentials SET retired_at = now() WHERE id = 3").await;
        run(&client, "UPDATE credentials SET closed_at = now(), retired_at = now() WHERE id = 2").await;
    });
}

#[test]
fn a_credential_keeps_its_owner_group_uuid_and_e_mail() {
    db_test(async |db| {
        let client = book(&db).await;
        for set in ["id = 77", "telegram_id = 3", "access_group = 'plus'", "uuid = gen_random_uuid()", "email = 'p.77'"]
        {
            for id in [2, 4] {
                let sql = format!("UPDATE credentials SET {set} WHERE id = {id}");
                assert_refused(&client, &sql, CHECK, "credentials_identity_is_fixed").await;
            }
        }
    });
}

#[test]
fn closing_a_credential_under_an_active_row_is_refused_at_the_commit() {
    db_test(async |db| {
        let client = book(&db).await;
        let close = "UPDATE credentials SET closed_at = now() WHERE id = 1";
        assert_refused_at_commit(&client, close, CHECK, "credentials_close_unused").await;
        assert_refused(&client, close, CHECK, "credentials_close_unused").await; // a statement alone is a transaction
        let retire = "UPDATE credentials SET closed_at = now(), retired_at = now() WHERE id = 1";
        assert_refused_at_commit(&client, retire, CHECK, "credentials_close_unused").await;

        // Within the transaction it may be closed first and left after.
        run(&client, &format!("BEGIN; {close}; UPDATE subscriptions SET status = 'expiring' WHERE id = 1; COMMIT"))
            .await;
        assert_eq!(text(&client, "SELECT closed_at IS NULL FROM credentials WHERE id = 1").await, "f");
    });
}

/// A transaction that looks with an old snapshot does not see who was attached since.
#[test]
fn closing_a_credential_at_a_level_that_cannot_see_the_newest_row_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        for level in ["REPEATABLE READ", "SERIALIZABLE"] {
            let sql = format!(
                "BEGIN ISOLATION LEVEL {level}; UPDATE credentials SET closed_at = now() WHERE id = 2;
                 SET CONSTRAINTS ALL IMMEDIATE"
            );
            assert_refused_by_state(&client, &sql, "25000").await;
        }
    });
}

#[test]
fn a_second_active_row_of_a_user_and_source_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        assert_refused(&client, &row(1, "payment", "1", "active"), UNIQUE, "subscriptions_one_active_a_source").await;
        run(&client, &row(1, "grant", "1", "active")).await;
        run(&client, &row(1, "trial", "1", "active")).await;
        assert_refused(&client, &row(1, "trial", "1", "active"), UNIQUE, "subscriptions_one_active_a_source").await;
        run(&client, "UPDATE subscriptions SET status = 'expired', credential_id = NULL WHERE source = 'trial'").await;
        assert_refused(&client, &row(1, "trial", "1", "active"), UNIQUE, "subscriptions_one_trial_a_user").await;
    });
}

#[test]
fn an_active_row_on_a_credential_that_is_not_open_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        let open = "subscriptions_active_on_open";
        assert_refused(&client, &row(3, "grant", "3", "active"), CHECK, open).await;
        assert_refused(&client, &row(4, "grant", "4", "active"), CHECK, open).await;
        assert_refused(&client, "UPDATE subscriptions SET credential_id = 4 WHERE id = 5", CHECK, open).await;
        assert_refused(&client, "UPDATE subscriptions SET credential_id = 3 WHERE id = 1", CHECK, open).await;
        // Rows that end may stand on it.
        run(&client, &row(3, "grant", "3", "expiring")).await;
    });
}

#[test]
fn an_active_row_on_another_users_credential_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        let own = "subscriptions_active_on_own";
        assert_refused(&client, &row(3, "grant", "2", "active"), CHECK, own).await;
        assert_refused(&client, "UPDATE subscriptions SET credential_id = 2 WHERE id = 1", CHECK, own).await;
        assert_refused(&client, "UPDATE subscriptions SET telegram_id = 2 WHERE id = 1", CHECK, own).await;
        let nobody = row(3, "grant", "99", "active");
        assert_refused(&client, &nobody, FOREIGN_KEY, "subscriptions_credential_id_fkey").await;
    });
}

#[test]
fn a_row_has_a_credential_exactly_until_it_is_expired() {
    db_test(async |db| {
        let client = book(&db).await;
        let until = "subscriptions_credential_until_expired";
        for sql in [
            row(2, "grant", "NULL", "active"),
            row(2, "grant", "NULL", "expiring"),
            row(2, "grant", "2", "expired"),
            "UPDATE subscriptions SET credential_id = NULL WHERE id = 1".to_owned(),
            "UPDATE subscriptions SET credential_id = NULL WHERE id = 3".to_owned(),
            "UPDATE subscriptions SET credential_id = 4 WHERE id = 4".to_owned(),
            "UPDATE subscriptions SET status = 'expired' WHERE id = 3".to_owned(),
        ] {
            assert_refused(&client, &sql, CHECK, until).await;
        }
    });
}

#[test]
fn a_status_never_goes_back() {
    db_test(async |db| {
        let client = book(&db).await;
        // On an open credential, so that nothing but the way back is in the way.
        run(
            &client,
            "INSERT INTO credentials (id, telegram_id) VALUES (6, 3);
             UPDATE subscriptions SET credential_id = 6 WHERE id = 3",
        )
        .await;
        for sql in [
            "UPDATE subscriptions SET status = 'active' WHERE id = 3",
            "UPDATE subscriptions SET status = 'active', credential_id = 4 WHERE id = 4",
            "UPDATE subscriptions SET status = 'expiring', credential_id = 4 WHERE id = 4",
        ] {
            let refused = refusal(&client, sql).await;
            // Triggers fire in the order of their names: the one about the credential may speak first.
            let names = ["subscriptions_go_one_way", "subscriptions_active_on_open"];
            assert_eq!(refused.sqlstate, CHECK, "{sql}");
            assert!(names.contains(&refused.constraint.as_deref().unwrap()), "{sql}: {refused:?}");
        }
        let back = "UPDATE subscriptions SET status = 'active' WHERE id = 3";
        assert_refused(&client, back, CHECK, "subscriptions_go_one_way").await;
        let back = "UPDATE subscriptions SET status = 'expiring', credential_id = 4 WHERE id = 4";
        assert_refused(&client, back, CHECK, "subscriptions_go_one_way").await;
        let unknown = "UPDATE subscriptions SET status = 'paused' WHERE id = 1";
        assert_refused(&client, unknown, CHECK, "subscriptions_status_known").await;
        run(&client, "UPDATE subscriptions SET status = 'expired', credential_id = NULL WHERE id IN (1, 3)").await;
    });
}

#[test]
fn a_credential_is_never_deleted() {
    db_test(async |db| {
        let client = book(&db).await;
        for sql in ["DELETE FROM credentials WHERE id = 2", "DELETE FROM credentials", "TRUNCATE credentials CASCADE"] {
            assert_refused(&client, sql, CHECK, "credentials_never_deleted").await;
        }
        assert_eq!(refusal(&client, "DELETE FROM users WHERE telegram_id = 1").await.sqlstate, FOREIGN_KEY);
        let sql = "INSERT INTO credentials (telegram_id) VALUES (99)";
        assert_refused(&client, sql, FOREIGN_KEY, "credentials_telegram_id_fkey").await;
        assert_eq!(refusal(&client, "INSERT INTO credentials (access_group) VALUES ('plus')").await.sqlstate, NOT_NULL);
    });
}

#[test]
fn without_its_guard_each_forbidden_change_goes_through() {
    db_test(async |db| {
        let client = book(&db).await;
        for (guard, sql) in [
            ("credentials DISABLE TRIGGER credentials_never_deleted", "DELETE FROM credentials WHERE id = 2"),
            (
                "credentials DISABLE TRIGGER credentials_go_one_way",
                "UPDATE credentials SET closed_at = NULL WHERE id = 3",
            ),
            ("credentials DISABLE TRIGGER credentials_go_one_way", "UPDATE credentials SET uuid = gen_random_uuid()"),
            (
                "credentials DISABLE TRIGGER credentials_close_unused",
                "UPDATE credentials SET closed_at = now() WHERE id = 1; SET CONSTRAINTS ALL IMMEDIATE",
            ),
            ("subscriptions DISABLE TRIGGER subscriptions_attach_new", &row(3, "grant", "3", "active")),
            ("subscriptions DISABLE TRIGGER subscriptions_attach_new", &row(3, "grant", "2", "active")),
            (
                "subscriptions DISABLE TRIGGER subscriptions_attach_changed",
                "UPDATE subscriptions SET credential_id = 3 WHERE id = 1",
            ),
            (
                "subscriptions DISABLE TRIGGER subscriptions_go_one_way",
                "UPDATE subscriptions SET status = 'expiring', credential_id = 4 WHERE id = 4",
            ),
            (
                "subscriptions DROP CONSTRAINT subscriptions_credential_until_expired",
                "UPDATE subscriptions SET credential_id = NULL WHERE id = 1",
            ),
        ] {
            run(&client, &format!("BEGIN; ALTER TABLE {guard}; {sql}; ROLLBACK")).await;
        }
    });
}
