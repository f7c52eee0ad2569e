//! The client where things go wrong: each fault of a server, each way not to reach one, each older release.

#![allow(clippy::unwrap_used)] // helpers of tests, too

#[path = "client/certificates.rs"]
mod certificates;
#[path = "client/faults.rs"]
mod faults;
#[path = "client/limits.rs"]
mod limits;
#[path = "client/lists.rs"]
mod lists;
#[path = "client/real.rs"]
mod real;
#[path = "client/releases.rs"]
mod releases;
#[path = "client/transport.rs"]
mod transport;

use std::time::{Duration, Instant};

use perennial_core::ports::{Addition, InboundTag, Removal, Xray as _, XrayError, XrayUser};
use perennial_testkit::fake_xray::FakeXray;
use perennial_xray::{NodeSettings, XrayNode};
use uuid::Uuid;

/// How long calls may take where a test waits for the end of that time.
const SHORT: Duration = Duration::from_millis(400);
/// By when such a call has ended on a machine that is busy with other tests.
const ENDED: Duration = Duration::from_secs(10);

fn vless() -> InboundTag {
    InboundTag("vless-in".to_owned())
}

fn user(email: &str) -> XrayUser {
    XrayUser { email: email.to_owned(), uuid: Uuid::new_v4(), flow: String::new() }
}

/// Settings with long timeouts, so that nothing ends before its time on a busy machine.
fn patient(address: &str) -> NodeSettings {
    let long = Duration::from_secs(60);
    NodeSettings { connect_timeout: long, call_timeout: long, list_timeout: long, ..NodeSettings::new("n1", address) }
}

/// Settings for a test that waits for a timeout.
fn hasty(address: &str) -> NodeSettings {
    NodeSettings { call_timeout: SHORT, list_timeout: SHORT, ..patient(address) }
}

fn node(settings: NodeSettings) -> XrayNode {
    XrayNode::connect(settings).unwrap()
}

async fn remove(node: &XrayNode, email: &str) -> Result<Removal, XrayError> {
    node.remove_user(&vless(), email).await
}

async fn add(node: &XrayNode, email: &str) -> Result<Addition, XrayError> {
    node.add_user(&vless(), &user(email)).await
}

/// A fake with these users, and a client that has talked to it and knows its inbound.
async fn acquainted(emails: &[&str], settings: impl FnOnce(&str) -> NodeSettings) -> (FakeXray, XrayNode) {
    let fake = FakeXray::start().unwrap();
    for email in emails {
        fake.put_user("vless-in", email, Uuid::new_v4(), "");
    }
    let node = node(settings(&fake.address()));
    get_acquainted(&node).await;
    fake.clear_calls();
    (fake, node)
}

/// Talks to a server until it has answered in time, which may take a hasty client several calls on a busy machine.
async fn get_acquainted(node: &XrayNode) {
    let begun = Instant::now();
    while remove(node, "nobody").await != Ok(Removal::WasAbsent) {
        assert!(begun.elapsed() < ENDED);
    }
}

/// Another client of the same server, which has time.
fn patient_one(fake: &FakeXray) -> XrayNode {
    node(patient(&fake.address()))
}

fn emails(fake: &FakeXray) -> Vec<String> {
    fake.users("vless-in").into_iter().map(|user| user.email).collect()
}

/// The reason of an outcome that has to be `Unknown`.
fn unknown<T: std::fmt::Debug>(outcome: Result<T, XrayError>) -> String {
    match outcome {
        Err(XrayError::Unknown { node, reason }) if node == "n1" => reason,
        other => panic!("not unknown but {other:?}"),
    }
}

/// The reason of an outcome that has to be `Unreachable`.
fn unreachable<T: std::fmt::Debug>(outcome: Result<T, XrayError>) -> String {
    match outcome {
        Err(XrayError::Unreachable { node, reason }) if node == "n1" => reason,
        other => panic!("not unreachable but {other:?}"),
    }
}

/// The reason of an outcome that has to be `Misconfigured`.
fn misconfigured<T: std::fmt::Debug>(outcome: Result<T, XrayError>) -> String {
    match outcome {
        Err(XrayError::Misconfigured { node, reason }) if node == "n1" => reason,
        other => panic!("not misconfigured but {other:?}"),
    }
}

/// The reason of an outcome that has to be `Refused`.
fn refused<T: std::fmt::Debug>(outcome: Result<T, XrayError>) -> String {
    match outcome {
        Err(XrayError::Refused { node, reason }) if node == "n1" => reason,
        other => panic!("not refused but {other:?}"),
    }
}

/// Runs something that has to end with its timeout.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let outcome = call.await;
    assert!(begun.elapsed() < ENDED, "it took {:?}", begun.elapsed());
    outcome
}
