//! A server that loses, delays, refuses, lies or dies.

use std::time::Duration;

use perennial_core::ports::{Addition, Removal, Xray as _};
use perennial_testkit::fake_xray::{Fault, Kind, When};
use tonic::Code;

use crate::{
    SHORT, acquainted, add, emails, hasty, in_time, patient, patient_one, refused, remove, unknown, unreachable,
};

#[tokio::test]
async fn a_lost_request_ends_in_time_and_nothing_is_done() {
    let (fake, node) = acquainted(&["p.1"], hasty).await;
    fake.inject(When::on(Kind::Remove), Fault::RequestLost);
    unknown(in_time(remove(&node, "p.1")).await);
    assert_eq!(emails(&fake), ["p.1"]);
    fake.clear_faults();
    assert_eq!(remove(&patient_one(&fake), "p.1").await, Ok(Removal::Removed));
}

#[tokio::test]
async fn a_lost_answer_ends_in_time_and_it_is_done() {
    let (fake, node) = acquainted(&["p.1"], hasty).await;
    fake.inject(When::any(), Fault::AnswerLost);
    unknown(in_time(remove(&node, "p.1")).await);
    assert_eq!(emails(&fake), [""; 0]);
    fake.clear_faults();
    assert_eq!(remove(&patient_one(&fake), "p.1").await, Ok(Removal::WasAbsent));
}

#[tokio::test]
async fn a_request_may_be_executed_after_its_call_has_ended() {
    let (fake, node) = acquainted(&["p.1"], hasty).await;
    fake.inject(When::on(Kind::Remove).about("p.1"), Fault::Late(SHORT * 3));
    unknown(in_time(remove(&node, "p.1")).await);
    assert_eq!(emails(&fake), ["p.1"]);
    tokio::time::sleep(SHORT * 4).await;
    assert_eq!(emails(&fake), [""; 0]);
}

#[tokio::test]
async fn a_slow_answer_counts_if_it_comes_in_time() {
    let (fake, node) = acquainted(&["p.1"], patient).await;
    fake.inject(When::on(Kind::Remove), Fault::Slow(Duration::from_millis(50)));
    assert_eq!(remove(&node, "p.1").await, Ok(Removal::Removed));
}

#[tokio::test]
async fn one_refused_call_leaves_the_others_alone() {
    let (fake, node) = acquainted(&["p.1", "p.2", "p.3"], patient).await;
    let text = "proxy/vless: out of luck with 4f1b0c8e-7d7d-4b52-9d0e-2f6f7e6a1c33";
    fake.inject(When::on(Kind::Remove).nth(2), Fault::Refuse(Code::Unknown, text.to_owned()));
    assert_eq!(remove(&node, "p.1").await, Ok(Removal::Removed));
    assert_eq!(refused(remove(&node, "p.2").await), "proxy/vless: out of luck with (masked)");
    assert_eq!(remove(&node, "p.3").await, Ok(Removal::Removed));
    assert_eq!(emails(&fake), ["p.2"]);
}

#[tokio::test]
async fn a_status_that_says_nothing_about_the_request_leaves_it_open() {
    let (fake, node) = acquainted(&["p.1"], patient).await;
    for code in [Code::Unavailable, Code::Internal, Code::Cancelled, Code::DeadlineExceeded, Code::ResourceExhausted] {
        fake.inject(When::on(Kind::Remove).once(), Fault::Refuse(code, "User p.1 not found.".to_owned()));
        unknown(remove(&node, "p.1").await);
    }
    assert_eq!(emails(&fake), ["p.1"]);
}

#[tokio::test]
async fn a_reset_stream_leaves_it_open_whether_it_was_done() {
    let (fake, node) = acquainted(&["p.1", "p.2"], patient).await;
    fake.inject(When::on(Kind::Remove).about("p.1"), Fault::Reset);
    fake.inject(When::on(Kind::Remove).about("p.2"), Fault::ResetAfter);
    unknown(remove(&node, "p.1").await);
    unknown(remove(&node, "p.2").await);
    assert_eq!(emails(&fake), ["p.1"]);
    assert_eq!(add(&node, "p.3").await, Ok(Addition::Added));
}

#[tokio::test]
async fn a_broken_connection_leaves_it_open_and_the_next_call_makes_a_new_one() {
    let (fake, node) = acquainted(&["p.1", "p.2"], patient).await;
    fake.inject(When::on(Kind::Remove).about("p.1").once(), Fault::Disconnect);
    fake.inject(When::on(Kind::Remove).about("p.2").once(), Fault::DisconnectAfter);
    unknown(remove(&node, "p.1").await);
    unknown(remove(&node, "p.2").await);
    assert_eq!(emails(&fake), ["p.1"]);
    assert_eq!(remove(&node, "p.1").await, Ok(Removal::Removed));
}

#[tokio::test]
async fn a_server_that_dies_leaves_it_open_is_unreachable_and_comes_back_without_its_users() {
    let (mut fake, node) = acquainted(&["p.1", "p.2"], patient).await;
    fake.inject(When::on(Kind::Remove).once(), Fault::Crash);
    unknown(remove(&node, "p.1").await);
    unreachable(remove(&node, "p.1").await);
    unreachable(node.list_users(&crate::vless()).await);
    fake.restart().unwrap();
    assert_eq!(remove(&node, "p.1").await, Ok(Removal::WasAbsent));
    assert_eq!(emails(&fake), [""; 0]);
}

#[tokio::test]
async fn a_server_that_lies_is_believed_by_the_call_and_not_by_the_list() {
    let (fake, node) = acquainted(&["p.1"], patient).await;
    fake.inject(When::on(Kind::Remove), Fault::Lie);
    assert_eq!(remove(&node, "p.1").await, Ok(Removal::Removed));
    assert!(node.find_user(&crate::vless(), "p.1").await.unwrap().is_some());
    assert_eq!(node.list_users(&crate::vless()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_is_written_before_the_inbound_said_it_is_vless() {
    let (fake, _) = acquainted(&["p.1"], hasty).await;
    let node = crate::node(hasty(&fake.address()));
    for fault in [Fault::RequestLost, Fault::Reset, Fault::Refuse(Code::Unavailable, "Socket closed".to_owned())] {
        fake.inject(When::on(Kind::AskProtocol), fault);
        // Not `Unknown`: the removal itself was never sent.
        unreachable(in_time(remove(&node, "p.1")).await);
        fake.clear_faults();
    }
    assert_eq!(fake.count(Kind::Remove), 0);
    assert_eq!(remove(&patient_one(&fake), "p.1").await, Ok(Removal::Removed));
}

#[tokio::test]
async fn the_protocol_is_asked_once_a_connection() {
    let (fake, node) = acquainted(&[], patient).await;
    for _ in 0..3 {
        add(&node, "p.1").await.unwrap();
        remove(&node, "p.1").await.unwrap();
    }
    assert_eq!(fake.count(Kind::AskProtocol), 0);
    fake.disconnect();
    // Until the client has noticed, a call may meet the end of the old connection.
    while remove(&node, "p.1").await.is_err() {}
    // Another connection may lead to a server with other inbounds.
    assert_eq!(fake.count(Kind::AskProtocol), 1);
}
