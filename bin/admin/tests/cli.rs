//! The built program: help, exit codes, and what each command answers.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_core::schema::{HISTORY_TABLE, VERSION};
use perennial_testkit::{db_test, db_test_unchecked};
use support::{admin, json, number, run, said, sql};

#[test]
fn the_help_says_what_there_is() {
    let help = said(&mut admin(&["--help"])).good();
    assert_eq!(help.out, include_str!("help.txt"));
    let help = said(&mut admin(&["buy", "-h"])).good();
    assert_eq!(help.out, include_str!("help-buy.txt"));
}

#[test]
fn wrong_flags_are_2() {
    for arguments in [
        &["no-such-command"][..],
        &[],
        &["top-up", "1"],
        &["top-up", "0", "--kopecks", "1"],
        &["top-up", "-5", "--kopecks", "1"],
        &["top-up", "1", "--kopecks", "0"],
        &["top-up", "1", "--kopecks", "1", "--key", ""],
        &["buy", "1", "--tariff", "x"],
        &["buy", "1", "--tariff", "x", "--auto-renew", "perhaps"],
        &["grant", "1", "--tariff", "x", "--days", "0"],
        &["refund", "1"],
        &["tariff", "set", "x", "--months", "1", "--days", "1"],
        &["tariff", "set", "x", "--sell", "--withdraw"],
        &["agree-price", "1"],
        &["agree-price", "1", "--none", "--kopecks", "1"],
        &["discount", "set", "1", "--percent", "101"],
        &["discount", "set", "1", "--percent", "1", "--until", "tomorrow"],
        &["park", "expire-fast", "1"],
        &["explain", "everybody"],
        &["demo", "--users", "1"],
    ] {
        assert_eq!(said(&mut admin(arguments)).code, 2, "{arguments:?}");
    }
}

#[test]
fn a_missing_or_dead_database_has_its_exit_codes() {
    let nowhere = said(&mut admin(&["verify"]));
    assert_eq!(nowhere.code, 78);
    assert!(nowhere.err.contains("no database is named"), "{nowhere:?}");
    let dead = "postgresql:///x?host=/nonexistent&user=x";
    for arguments in [&["verify"][..], &["migrate"], &["top-up", "1", "--kopecks", "1"], &["demo"]] {
        let said = said(admin(arguments).env("DATABASE_URL", dead));
        assert_eq!(said.code, 69, "{arguments:?}: {said:?}");
    }
    let as_json = said(admin(&["verify", "--output", "json"]).env("DATABASE_URL", dead));
    assert_eq!((as_json.code, as_json.json()["exit_code"].as_i64()), (69, Some(69)));
}

#[test]
fn an_empty_database_is_migrated_once_and_belongs_to_its_cluster() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        sql(&client, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
        let before = run(&db, &["tariff", "list"]);
        assert_eq!(before.code, 78, "{before:?}");
        assert!(before.err.contains("run `admin migrate`"), "{before:?}");

        let half = json(&db, &["migrate", "--to", "2"]);
        assert_eq!((&half["version"], &half["installation_recorded"]), (&2.into(), &false.into()));
        let whole = json(&db, &["migrate"]);
        assert_eq!((&whole["version"], &whole["installation_recorded"]), (&VERSION.into(), &true.into()));
        assert_eq!(whole["applied"].as_array().unwrap().len(), VERSION as usize - 2);
        assert_eq!(number(&client, "SELECT count(*) FROM installation WHERE system_identifier IS NOT NULL").await, 1);
        let again = run(&db, &["migrate"]).good();
        assert_eq!(again.out, format!("nothing to apply, the database is at version {VERSION}\n"));
        assert_eq!(run(&db, &["migrate", "--to", "1"]).code, 2);
    });
}

#[test]
fn the_owner_prefix_of_the_settings_is_recorded_with_the_installation() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        sql(&client, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
        let settings = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(settings.path(), "owner_prefix = \"bot7.\"\n").unwrap();
        let path = settings.path().to_str().unwrap();
        run(&db, &["migrate", "--config", path]).good();
        assert_eq!(number(&client, "SELECT count(*) FROM installation WHERE owner_prefix = 'bot7.'").await, 1);
        run(&db, &["ensure-user", "1", "--config", path]).good();
        // Settings that call other users ours are refused.
        let other = run(&db, &["ensure-user", "1"]);
        assert_eq!(other.code, 78);
        assert!(other.err.contains("the database was set up with \"bot7.\""), "{other:?}");
    });
}

#[test]
fn a_newer_and_an_edited_database_are_refused() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        let newer =
            format!("INSERT INTO {HISTORY_TABLE} VALUES ({}, 'later', '2030-01-01T00:00:00Z', '1')", VERSION + 1);
        sql(&client, &newer).await;
        for arguments in [&["migrate"][..], &["verify"], &["ensure-user", "1"]] {
            let said = run(&db, arguments);
            assert_eq!(said.code, 78, "{arguments:?}: {said:?}");
        }
        sql(&client, &format!("DELETE FROM {HISTORY_TABLE} WHERE version = {}", VERSION + 1)).await;
        sql(&client, &format!("UPDATE {HISTORY_TABLE} SET checksum = '1' WHERE version = 1")).await;
        assert_eq!(run(&db, &["migrate"]).code, 78);
    });
}

#[test]
fn a_copied_database_may_be_read_but_not_written_until_it_is_accepted() {
    db_test(async |db| {
        let client = db.client().await;
        for (differs, origin) in
            [("system_identifier", "another cluster"), ("database_oid", "another database of this cluster")]
        {
            let ran = "INSERT INTO runs (run_id, pass, version, host, mode, started_at, database_oid)
                       VALUES (gen_random_uuid(), 'renew', '0', '', 'full', now(), 1)";
            sql(&client, &format!("UPDATE installation SET {differs} = 1; {ran}")).await;
            let refused = run(&db, &["ensure-user", "1"]);
            assert_eq!(refused.code, 78);
            assert!(refused.err.contains(&format!("was copied from {origin},")), "{refused:?}");
            run(&db, &["verify"]).good();
            // Migrating a copy does not make it the original.
            run(&db, &["migrate"]).good();
            assert_eq!(json(&db, &["installation", "show"])["is_a_copy"], true);
            let shown = run(&db, &["installation", "show"]).good().out;
            assert!(shown.contains(&format!("a copy from {origin}: nothing may act")), "{shown}");

            assert_eq!(json(&db, &["installation", "accept"])["changed"], true);
            assert_eq!(json(&db, &["installation", "accept"])["changed"], false);
            run(&db, &["ensure-user", "1"]).good();
        }
        let audited = "SELECT count(*) FROM audit_log WHERE action = 'installation_accepted' AND actor = 'admin'";
        assert_eq!(number(&client, audited).await, 2);
    });
}

#[test]
fn a_secret_is_shown_only_when_asked_for() {
    db_test(async |db| {
        let client = db.client().await;
        run(&db, &["tariff", "set", "t", "--price-kopecks", "100", "--days", "30"]).good();
        run(&db, &["ensure-user", "1"]).good();
        let masked = json(&db, &["grant", "1", "--tariff", "t", "--days", "3", "--key", "g"]);
        assert_eq!(masked["credential_uuid"].as_str().unwrap().chars().count(), 5);
        let shown = json(&db, &["grant", "1", "--tariff", "t", "--days", "3", "--key", "g", "--show-secret"]);
        let row = client.query_typed_one("SELECT uuid::text FROM credentials", &[]).await.unwrap();
        assert_eq!(shown["credential_uuid"], row.get::<_, &str>(0));
        assert_eq!(masked["subscription_id"], shown["subscription_id"]);
    });
}
