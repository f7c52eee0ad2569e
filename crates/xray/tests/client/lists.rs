//! Lists that are slow, short, cut or too long, and the finding of one user.

use perennial_core::ports::Xray as _;
use perennial_testkit::fake_xray::{Fault, Kind, When};
use perennial_xray::NodeSettings;
use tonic::Code;

use crate::{SHORT, acquainted, hasty, in_time, misconfigured, node, patient, patient_one, unknown, vless};

const THREE: [&str; 3] = ["p.1", "p.2", "p.3"];

#[tokio::test]
async fn a_list_that_does_not_come_ends_in_time() {
    let (fake, node) = acquainted(&THREE, hasty).await;
    for fault in [Fault::RequestLost, Fault::AnswerLost, Fault::Slow(SHORT * 10)] {
        fake.inject(When::any(), fault);
        unknown(in_time(node.list_users(&vless())).await);
        unknown(in_time(node.find_user(&vless(), "p.1")).await);
        unknown(in_time(node.status()).await);
        unknown(in_time(node.online(&["p.1".to_owned()])).await);
        fake.clear_faults();
    }
    assert_eq!(patient_one(&fake).list_users(&vless()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_list_that_breaks_off_is_no_list_wherever_it_does() {
    let (fake, node) = acquainted(&THREE, patient).await;
    // The head of the message and three users of 75 bytes: 230 bytes.
    for bytes in [0, 1, 4, 5, 6, 79, 80, 81, 155, 156, 229] {
        for fault in [Fault::CutAfter(bytes), Fault::EndAfter(bytes)] {
            fake.inject(When::on(Kind::List).once(), fault);
            let outcome = node.list_users(&vless()).await;
            assert!(outcome.is_err(), "{bytes}: {outcome:?}");
        }
    }
    fake.inject(When::on(Kind::List).once(), Fault::EndAfter(10_000));
    assert_eq!(node.list_users(&vless()).await.unwrap().len(), 3);
    // All of it, and then no closing status.
    fake.inject(When::on(Kind::List).once(), Fault::CutAfter(10_000));
    unknown(node.list_users(&vless()).await);
}

#[tokio::test]
async fn a_list_that_leaves_somebody_out_looks_whole() {
    // What nobody can see here is caught by the brakes of the pass.
    let (fake, node) = acquainted(&THREE, patient).await;
    fake.inject(When::on(Kind::List).once(), Fault::ShortList(1));
    assert_eq!(node.list_users(&vless()).await.unwrap().len(), 1);
    fake.inject(When::on(Kind::List).once(), Fault::ShortList(0));
    assert!(node.list_users(&vless()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_beyond_the_limit_names_the_setting() {
    let (fake, _) = acquainted(&THREE, patient).await;
    let tight = node(NodeSettings { max_list_bytes: 20, ..patient(&fake.address()) });
    for reason in
        [misconfigured(tight.list_users(&vless()).await), misconfigured(tight.find_user(&vless(), "p.1").await)]
    {
        assert!(reason.contains("max_list_bytes"), "{reason}");
    }
}

#[tokio::test]
async fn a_refused_list_says_nothing_about_anybody() {
    let (fake, node) = acquainted(&THREE, patient).await;
    fake.inject(When::on(Kind::List).once(), Fault::Refuse(Code::Unavailable, "transport is closing".to_owned()));
    assert_eq!(unknown(node.list_users(&vless()).await).matches("transport is closing").count(), 1);
}

#[tokio::test]
async fn an_answer_about_nobody_is_nobody() {
    let (fake, node) = acquainted(&THREE, patient).await;
    assert_eq!(node.find_user(&vless(), "p.4").await, Ok(None));
    // No user at all instead of an empty one.
    fake.inject(When::on(Kind::Find).once(), Fault::Lie);
    assert_eq!(node.find_user(&vless(), "p.1").await, Ok(None));
}
