//! Servers that are not as the settings say.

use perennial_core::ports::{Addition, InboundTag, Removal, Xray as _, XrayError, XrayUser};
use perennial_xray::{NodeSettings, XrayNode};
use uuid::Uuid;

use crate::servers::{DOKODEMO, Kind, Stage, TROJAN, VLESS, VMESS, patient, tag};

fn user(email: &str) -> XrayUser {
    XrayUser { email: email.to_owned(), uuid: Uuid::new_v4(), flow: String::new() }
}

fn misconfigured<T: std::fmt::Debug>(outcome: Result<T, XrayError>) -> String {
    match outcome {
        Err(XrayError::Misconfigured { node, reason }) => {
            assert_eq!(node, "n1");
            reason
        }
        other => panic!("not misconfigured but {other:?}"),
    }
}

async fn all_reasons(node: &XrayNode, inbound: &InboundTag) -> [String; 4] {
    [
        misconfigured(node.list_users(inbound).await),
        misconfigured(node.find_user(inbound, "p.1").await),
        misconfigured(node.add_user(inbound, &user("p.1")).await),
        misconfigured(node.remove_user(inbound, "p.1").await),
    ]
}

pub(crate) async fn a_wrong_tag_is_the_settings_fault_and_removes_nobody(kind: &Kind) {
    let (server, node) = kind.start_empty();
    let known = user("p.1");
    node.add_user(&tag(VLESS), &known).await.unwrap();
    // A tag that reads like the answer for a user who is gone.
    for wrong in ["vless", "User p.1 not found.", ""] {
        for reason in all_reasons(&node, &tag(wrong)).await {
            assert_eq!(reason, format!("it has no inbound tagged {wrong:?}"));
        }
    }
    assert!(server.can_connect(known.uuid));
}

pub(crate) async fn an_inbound_without_users_is_the_settings_fault(kind: &Kind) {
    let (_server, node) = kind.start_empty();
    for reason in all_reasons(&node, &tag(DOKODEMO)).await {
        assert!(reason.contains("no users"), "{reason}");
    }
}

pub(crate) async fn an_inbound_of_another_protocol_is_never_written_to(kind: &Kind) {
    let (mut server, node) = kind.start_empty();
    for (inbound, protocol) in [(TROJAN, "trojan"), (VMESS, "vmess")] {
        for reason in [
            misconfigured(node.add_user(&tag(inbound), &user("p.1")).await),
            misconfigured(node.remove_user(&tag(inbound), "p.1").await),
        ] {
            assert!(reason.contains(protocol) && reason.contains("not VLESS"), "{reason}");
        }
    }
    // A VLESS account would have ended it.
    assert!(server.is_running());
    assert_eq!(node.add_user(&tag(VLESS), &user("p.1")).await, Ok(Addition::Added));
}

pub(crate) async fn a_node_says_how_long_it_runs_and_what_inbounds_it_has(kind: &Kind) {
    let (_server, node) = kind.start_empty();
    let status = node.status().await.unwrap();
    assert!(status.uptime.as_secs() < 60);
    let mut inbounds = status.inbounds.unwrap();
    inbounds.sort();
    assert_eq!(inbounds, [DOKODEMO, TROJAN, VLESS, VMESS].map(tag));
}

pub(crate) async fn a_service_that_is_not_offered_is_named(kind: &Kind) {
    let server = kind.start(Stage { services: vec!["StatsService"], ..Stage::default() });
    let node = server.node();
    for reason in all_reasons(&node, &tag(VLESS)).await {
        assert!(reason.contains("HandlerService is not among the services"), "{reason}");
    }
    let server = kind.start(Stage { services: vec!["HandlerService"], ..Stage::default() });
    let node = server.node();
    assert!(misconfigured(node.status().await).contains("StatsService"));
    assert_eq!(node.online(&["p.1".to_owned()]).await, Ok(None));
    assert_eq!(node.remove_user(&tag(VLESS), "p.1").await, Ok(Removal::WasAbsent));
}

pub(crate) async fn a_list_beyond_the_limit_names_the_setting(kind: &Kind) {
    let (server, node) = kind.start_empty();
    for i in 0..20 {
        node.add_user(&tag(VLESS), &user(&format!("p.{i}"))).await.unwrap();
    }
    let limited = NodeSettings { max_list_bytes: 1000, ..patient("n1", &server.address()) };
    let reason = misconfigured(XrayNode::connect(limited).unwrap().list_users(&tag(VLESS)).await);
    assert!(reason.contains("max_list_bytes is 1000"), "{reason}");
    assert_eq!(node.list_users(&tag(VLESS)).await.unwrap().len(), 20);
}

pub(crate) async fn a_server_that_went_away_is_unreachable_and_found_again(kind: &Kind) {
    let (mut server, node) = kind.start_empty();
    node.add_user(&tag(VLESS), &user("p.1")).await.unwrap();
    let nobody_there = XrayNode::connect(patient("n1", &server.address())).unwrap();
    server.restart().await;
    // The old connection has ended meanwhile; nothing was sent on it, so the call goes out on a new one.
    assert_eq!(node.remove_user(&tag(VLESS), "p.1").await, Ok(Removal::WasAbsent));
    server.stop().await;
    for node in [node, nobody_there] {
        let outcome = node.remove_user(&tag(VLESS), "p.1").await;
        assert!(matches!(outcome, Err(XrayError::Unreachable { .. })), "{outcome:?}");
    }
}
