//! `nodes` and `orphans`: what the servers say and what stands in the database about them.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_testkit::fake_xray::{FakeXray, Fault, Kind, Protocol, Release, When};
use perennial_testkit::{TestDb, db_test};
use serde_json::json;
use support::{Said, json, number, run, sql};
use tokio_postgres::Client;
use uuid::Uuid;

/// Three customers with a right, one whose right has ended; their e-mails and UUIDs.
async fn put(client: &Client) -> Vec<(String, Uuid)> {
    sql(
        client,
        "INSERT INTO users (telegram_id) SELECT generate_series(1, 4);
         INSERT INTO credentials (telegram_id, closed_at) SELECT n, CASE WHEN n = 4 THEN now() END FROM generate_series(1, 4) n;
         INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, expires_at)
         SELECT telegram_id, 'payment', 'x', id, now() + interval '9 days' FROM credentials WHERE closed_at IS NULL",
    )
    .await;
    let rows = client.query_typed("SELECT email, uuid FROM credentials ORDER BY id", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn check(db: &TestDb, nodes: &[&str], arguments: &[&str]) -> Said {
    let mut all = vec!["nodes", "check"];
    nodes.iter().for_each(|node| all.extend(["--xray", node]));
    all.extend(arguments);
    run(db, &all)
}

#[test]
fn a_check_says_what_a_server_can_do_and_how_it_and_the_database_are_apart() {
    db_test(async |db| {
        let client = db.client().await;
        let users = put(&client).await;
        let server = FakeXray::builder().inbound("a").inbound("b").start().unwrap();
        server.set_uptime(std::time::Duration::from_secs(90_000));
        server.put_user("a", &users[0].0, users[0].1, "");
        server.put_user("a", &users[1].0, Uuid::new_v4(), "");
        server.put_user("a", &users[3].0, users[3].1, "");
        server.put_user("a", "p.unknown", Uuid::new_v4(), "");
        server.put_user("a", "other.1", Uuid::new_v4(), "");
        let node = format!("de1={}#a", server.address());
        let said = check(&db, &[&node], &[]).good();
        assert!(said.out.starts_with("de1: up for 9000"), "{}", said.out);
        for line in [
            "Xray v26.4.13 or newer, tells who is connected",
            "  inbound  group  users  entitled  missing  wrong  extra  foreign  protected",
            "  a        basic      5         3        1      1      2        1          0",
            "inbounds that are not in the settings, left alone: b",
        ] {
            assert!(said.out.contains(line), "{line}\n{}", said.out);
        }
        let object = check(&db, &[&node], &["--output", "json"]).good().json();
        let expected = json!({
            "tag": "a", "group": "basic", "error": null, "listed": 5, "entitled": 3, "missing": 1, "wrong": 1, "extra": 2,
            "foreign": 1, "protected": 0, "shared_uuid": 0,
        });
        assert_eq!(object["nodes"][0]["inbounds"][0], expected);
        assert_eq!(server.count(Kind::Add) + server.count(Kind::Remove), 0);
        assert_eq!(number(&client, "SELECT count(*) FROM nodes").await, 0, "a check writes nothing");
    });
}

#[test]
fn each_trouble_of_a_server_is_a_line_and_an_exit_code() {
    db_test(async |db| {
        put(&db.client().await).await;
        let mixed = FakeXray::builder()
            .inbound("good")
            .inbound_of("vmess", Protocol::Vmess)
            .inbound_of("tunnel", Protocol::Dokodemo)
            .start()
            .unwrap();
        let old = FakeXray::builder().inbound("good").release(Release(24, 9, 30)).start().unwrap();
        let bare = FakeXray::builder().inbound("good").services(&["StatsService"]).start().unwrap();
        let mute = FakeXray::builder().inbound("good").services(&["HandlerService"]).start().unwrap();
        let mut dead = FakeXray::start().unwrap();
        dead.crash();
        for (server, tags, code, line) in [
            (&mixed, "good,vmess", 3, "de1: inbound vmess: the inbound is vmess/inbound, not VLESS"),
            (&mixed, "good,tunnel", 3, "de1: inbound tunnel: the inbound is of a kind that has no users"),
            (&mixed, "good,typo", 3, "de1: it has no inbound tagged \"typo\""),
            (&old, "good", 3, "needs Xray v24.11.5 or newer"),
            (&bare, "good", 3, "HandlerService is not among the services of its API"),
            (&mute, "good", 0, "StatsService is not among the services of its API"),
            (&dead, "good", 69, "de1: cannot be reached"),
        ] {
            let said = check(&db, &[&format!("de1={}#{tags}", server.address())], &[]);
            assert_eq!(said.code, code, "{tags}: {said:?}");
            assert!(said.out.contains(line), "{line}\n{}", said.out);
            assert!(server.is_running() || code == 69, "asking must not end a server");
        }
        // One that hangs holds up nobody.
        let hangs = FakeXray::builder().inbound("good").start().unwrap();
        hangs.inject(When::any(), Fault::RequestLost);
        let nodes = [format!("de1={}#good", mixed.address()), format!("de2={}#good", hangs.address())];
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let begun = std::time::Instant::now();
        let said = check(&db, &nodes, &[]);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.out.contains("de1: up for") && said.out.contains("de2: "), "{}", said.out);
        assert!(begun.elapsed() < std::time::Duration::from_secs(30));
        let said = check(&db, &nodes, &["de1"]).good();
        assert!(!said.out.contains("de2"));
        assert_eq!((check(&db, &nodes, &["de3"]).code, check(&db, &[], &[]).code), (3, 78));
    });
}

#[test]
fn a_retired_server_is_waited_for_no_longer_and_can_be_taken_back() {
    db_test(async |db| {
        let client = db.client().await;
        put(&client).await;
        assert_eq!(run(&db, &["nodes", "list"]).good().out, "no pass has met a server yet\n");
        let unknown = run(&db, &["nodes", "retire", "de9"]);
        assert_eq!(unknown.code, 3);
        assert!(unknown.err.contains("node de9 is not known (`admin nodes list`"), "{}", unknown.err);
        sql(
            &client,
            "INSERT INTO nodes (name, adopted_at, last_list_size, failures, next_try_at)
             VALUES ('de1', '2026-01-01Z', 77, 0, NULL), ('de2', NULL, NULL, 3, now() + interval '5 minutes');
             INSERT INTO removals (credential, node) SELECT id, 'de1' FROM credentials WHERE closed_at IS NOT NULL;
             INSERT INTO orphans (node, inbound, email) VALUES ('de2', 'a', 'p.9')",
        )
        .await;
        let list = run(&db, &["nodes", "list"]).good().out;
        assert!(list.contains("de1   2026-01-01T00:00:00Z     77          0           0  in use"), "{list}");
        assert!(list.contains("after 3 failed contacts"), "{list}");
        assert_eq!(json(&db, &["nodes", "list"])["nodes"][1]["unproven"], 1);
        let said = run(&db, &["nodes", "retire", "de2"]).good().out;
        assert_eq!(said, "node de2 is retired: 1 removal waits no longer for it\n");
        let again = run(&db, &["nodes", "retire", "de2"]);
        assert_eq!((again.code, again.err.as_str()), (3, "admin: node de2 is retired already\n"));
        let audit = "SELECT count(*) FROM audit_log WHERE actor = 'admin' AND action = 'node_retired'
                     AND before ->> 'failures' = '3' AND after ->> 'node' = 'de2'";
        assert_eq!(number(&client, audit).await, 1);
        assert_eq!(number(&client, "SELECT count(*) FROM orphans").await, 0);
        assert_eq!(json(&db, &["nodes", "list"])["nodes"][1]["unproven"], 0);
        run(&db, &["nodes", "revive", "de2"]).good();
        assert_eq!(run(&db, &["nodes", "revive", "de2"]).err, "admin: node de2 is in use already\n");
        assert_eq!(json(&db, &["nodes", "list"])["nodes"][1]["retired_at"], json!(null));
    });
}

#[test]
fn orphans_are_listed_with_the_reason_and_what_becomes_of_them() {
    db_test(async |db| {
        assert_eq!(run(&db, &["orphans"]).good().out, "nobody is in quarantine\n");
        sql(
            &db.client().await,
            "INSERT INTO nodes (name) VALUES ('de1'), ('de2');
             INSERT INTO orphans (node, inbound, email, reason, first_seen_at, sightings, adopted) VALUES
                 ('de1', 'a', 'p.7', 'unused', '2026-03-01Z', 2, false), ('de1', 'a', 'p.old', 'unknown', '2026-01-01Z', 1, true),
                 ('de2', 'b', 'p.8', 'unknown', '2026-03-01Z', 1, false)",
        )
        .await;
        let expected = "\
node  inbound  e-mail  why      since                 sightings  then
de1   a        p.7     unused   2026-03-01T00:00:00Z          2  removed after the grace
de1   a        p.old   unknown  2026-01-01T00:00:00Z          1  stays: there at first contact
";
        assert_eq!(run(&db, &["orphans", "--node", "de1"]).good().out, expected);
        assert!(run(&db, &["orphans", "--limit", "1"]).good().out.ends_with("1 of 3 shown; --limit shows more\n"));
        let object = json(&db, &["orphans"]);
        assert_eq!((&object["count"], &object["orphans"][2]["email"]), (&json!(3), &json!("p.8")));
        assert_eq!(object["orphans"][1]["adopted"], true);
    });
}
