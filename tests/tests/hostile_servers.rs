//! Xray servers and a messenger that answer what nobody would: it costs that server, that user or that message, and no
//! pass, no other server and no other customer.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod fire_support;

use fire_support::{Service, TAG};
use perennial_testkit::db_test;
use perennial_testkit::fake_telegram::{Fault as Silence, Refusal};
use perennial_testkit::fake_xray::{Code, Fault, Kind, When};
use uuid::Uuid;

/// E-mails that no credential has, beside the right ones.
fn impossible_emails() -> Vec<String> {
    let mut all: Vec<String> = [
        "nul\0byte",
        "p.\0",
        "p.1\0",
        "\u{202E}p.1",
        "<b>p.1</b>",
        "p.1' OR '1'='1",
        "p.1\n",
        " p.1",
        "שלום",
        "P.Ünïcode",
        "İstanbul",
        "%00",
        "\\u0000",
        "{}",
        "p.",
        "p.18446744073709551616",
    ]
    .map(str::to_owned)
    .to_vec();
    all.push(format!("p.{}", "9".repeat(126)));
    all.push(format!("p.{}", "9".repeat(5_000)));
    all.push("😀".repeat(10_000));
    all
}

async fn run(service: &Service, pass: &str, codes: &[i32]) -> serde_json::Value {
    let all: &[&str] = match pass {
        "reconcile-xray" => &["--max-seconds", "30", "--max-removal-share", "1"],
        _ => &["--max-seconds", "30"],
    };
    let ended = service.run(pass, all);
    assert!(ended.code().is_some_and(|code| codes.contains(&code)), "{pass}: {ended:?}");
    assert_eq!(service.number("SELECT count(*) FROM runs WHERE finished_at IS NULL").await, 0, "{pass}: {ended:?}");
    ended.summary
}

/// What differs between rights and servers, apart from those who were put there on purpose.
async fn drift(service: &Service) -> Vec<String> {
    service.drift().await.into_iter().filter(|line| !line.ends_with("is known to nobody")).collect()
}

#[test]
fn users_with_names_that_no_database_takes_are_somebody_elses() {
    db_test(async |db| {
        let service = Service::of(&db).await;
        service.populate().await;
        let names = impossible_emails();
        for (n, name) in names.iter().enumerate() {
            service.nodes[0].put_user(TAG, name, Uuid::from_u128(n as u128 + 1), "");
        }
        for pass in ["reconcile-xray", "expire-fast", "reconcile-xray"] {
            let summary = run(&service, pass, &[0]).await;
            assert!(summary["nodes"].as_array().unwrap().iter().all(|node| node["error"].is_null()), "{summary}");
        }
        assert_eq!(drift(&service).await, [""; 0]);
        let left: Vec<String> = service.nodes[0].users(TAG).into_iter().map(|user| user.email).collect();
        let gone: Vec<&String> = names.iter().filter(|name| !left.contains(name)).collect();
        assert_eq!(gone, [""; 0], "somebody else's user was taken off");
    });
}

#[test]
fn a_list_with_everybody_twice_costs_its_server_alone() {
    db_test(async |db| {
        let service = Service::of(&db).await;
        service.populate().await;
        let before = service.nodes[0].users(TAG);
        service.nodes[0].inject(When::on(Kind::List), Fault::DoubledList);
        let summary = run(&service, "reconcile-xray", &[3]).await;
        let [first, second] = [&summary["nodes"][0], &summary["nodes"][1]];
        assert!(first["error"].as_str().unwrap().contains("twice"), "{summary}");
        assert!(second["error"].is_null(), "{summary}");
        assert_eq!(service.nodes[0].users(TAG), before);
        let on_the_other: Vec<String> =
            drift(&service).await.into_iter().filter(|line| line.starts_with("n2")).collect();
        assert_eq!(on_the_other.iter().filter(|line| line.contains("entitled and")).count(), 0, "{on_the_other:?}");
        service.nodes[0].clear_faults();
        for pass in ["reconcile-xray", "expire-fast", "reconcile-xray"] {
            run(&service, pass, &[0]).await;
        }
        assert_eq!(service.drift().await, [""; 0]);
    });
}

#[test]
fn refusals_in_words_that_no_database_takes_are_told_in_others() {
    db_test(async |db| {
        let service = Service::of(&db).await;
        service.populate().await;
        let text = format!("a\0b\u{202E}c<b>\n{}", "x".repeat(2_000));
        for kind in [Kind::List, Kind::Find, Kind::Add, Kind::Remove, Kind::ListInbounds, Kind::AskProtocol] {
            service.nodes[0].inject(When::on(kind), Fault::Refuse(Code::Unknown, text.clone()));
        }
        for pass in ["expire-fast", "reconcile-xray"] {
            let summary = run(&service, pass, &[0, 3]).await;
            assert!(!summary.to_string().contains("\\u0000"), "{summary}");
            assert!(summary.to_string().len() < 20_000, "{summary}");
        }
        let on_the_other = drift(&service).await;
        assert!(
            !on_the_other.iter().any(|line| line.starts_with("n2") && line.contains("entitled and")),
            "{on_the_other:?}"
        );
    });
}

#[test]
fn a_messenger_that_answers_nonsense_costs_those_messages_alone() {
    db_test(async |db| {
        let service = Service::of(&db).await;
        service.populate().await;
        let refuse = |code, description: &str, migrate_to| {
            Silence::Refuse(Refusal { code, description: description.to_owned().into(), migrate_to })
        };
        let nasty = format!("Bad Request: a\0b\u{202E}c</b><script>{}", "\u{1F600}".repeat(20_000));
        service.telegram.fail_chat(1, refuse(400, &nasty, None));
        service.telegram.fail_chat(2, refuse(403, &nasty, None));
        service.telegram.fail_chat(3, refuse(400, "group chat was upgraded", Some(i64::MIN)));
        service.telegram.fail_chat(5, refuse(418, &nasty, None));
        for pass in ["renew", "expire-fast", "notify-trials"] {
            run(&service, pass, &[0, 3]).await;
        }
        let said = "SELECT count(*) FROM notices WHERE last_error ~ '[[:cntrl:]]' OR length(last_error) > 400";
        assert_eq!(service.number(said).await, 0);
        for (user, status) in [(1, "dead"), (2, "dropped"), (3, "sent"), (5, "dead"), (6, "sent")] {
            let sql = format!(
                "SELECT count(*) FROM notices WHERE kind = 'renewed' AND status = '{status}' AND \
                dedupe_key LIKE 'renewed:{user}:%'"
            );
            assert_eq!(service.number(&sql).await, 1, "{user} {status}");
        }
        let untold = "SELECT count(*) FROM notices WHERE status IN ('pending', 'sending')";
        assert_eq!(service.number(untold).await, 0);
    });
}
