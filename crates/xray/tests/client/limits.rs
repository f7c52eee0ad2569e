//! What is never sent, and how much is sent at once.

use std::time::Duration;

use futures_util::future::join_all;
use perennial_core::ports::{Removal, Xray as _, XrayUser};
use perennial_testkit::fake_xray::{Fault, Kind, When};
use perennial_xray::NodeSettings;
use uuid::Uuid;

use crate::{
    acquainted, get_acquainted, hasty, in_time, node, patient, refused, remove, unknown, unreachable, user, vless,
};

#[tokio::test]
async fn what_must_not_be_sent_is_not_sent() {
    let (fake, node) = acquainted(&[], patient).await;
    for email in ["", "P.1", "a b", "a>>>b", "юзер", &"x".repeat(129)] {
        refused(remove(&node, email).await);
        refused(node.find_user(&vless(), email).await);
        refused(node.add_user(&vless(), &user(email)).await);
    }
    refused(node.add_user(&vless(), &XrayUser { uuid: Uuid::nil(), ..user("p.1") }).await);
    refused(node.add_user(&vless(), &XrayUser { flow: "no flow".to_owned(), ..user("p.1") }).await);
    assert_eq!(fake.calls(), []);
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_the_setting_says() {
    let (fake, _) = acquainted(&[], patient).await;
    let narrow = node(NodeSettings { max_in_flight: 3, ..hasty(&fake.address()) });
    get_acquainted(&narrow).await;
    fake.clear_calls();
    fake.inject(When::on(Kind::Remove), Fault::RequestLost);
    let emails: Vec<String> = (0..12).map(|i| format!("p.{i}")).collect();
    let outcomes = in_time(join_all(emails.iter().map(|email| remove(&narrow, email)))).await;
    // Those that got no turn within the timeout were not sent, and say so. A turn may be free just in time.
    let not_sent = outcomes.iter().filter(|outcome| format!("{outcome:?}").contains("not sent")).count();
    assert_eq!(fake.count(Kind::Remove), 12 - not_sent);
    assert!((6..=9).contains(&not_sent), "{outcomes:?}");
    fake.clear_faults();
    get_acquainted(&narrow).await;
}

#[tokio::test]
async fn a_dropped_call_gives_its_turn_back() {
    let (fake, _) = acquainted(&[], patient).await;
    let narrow = node(NodeSettings { max_in_flight: 1, ..patient(&fake.address()) });
    fake.inject(When::on(Kind::List), Fault::RequestLost);
    for _ in 0..5 {
        let dropped = tokio::time::timeout(Duration::from_millis(20), narrow.list_users(&vless())).await;
        assert!(dropped.is_err());
    }
    assert_eq!(in_time(remove(&narrow, "p.1")).await, Ok(Removal::WasAbsent));
}

#[tokio::test]
async fn calls_that_wait_for_one_connection_share_its_failure() {
    // It takes connections and never says a word, so TLS waits for the connect timeout.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let settings = NodeSettings { connect_timeout: Duration::from_secs(2), ..patient(&address) };
    let node = node(settings);
    let emails: Vec<String> = (0..16).map(|i| format!("p.{i}")).collect();
    // One after the other they would take half a minute.
    for outcome in in_time(join_all(emails.iter().map(|email| remove(&node, email)))).await {
        assert!(unreachable(outcome).contains("no connection within 2s"));
    }
}

#[tokio::test]
async fn a_hung_server_costs_each_call_its_own_timeout_at_once() {
    let (fake, node) = acquainted(&[], hasty).await;
    fake.inject(When::on(Kind::Remove), Fault::RequestLost);
    let emails: Vec<String> = (0..16).map(|i| format!("p.{i}")).collect();
    for outcome in in_time(join_all(emails.iter().map(|email| remove(&node, email)))).await {
        unknown(outcome);
    }
}
