//! Every answer word for word, also to requests our client never sends: what the fake is measured by.

use tonic::Code;
use uuid::Uuid;

use crate::raw::{COMMAND, Raw, add, field, remove, typed, vless};
use crate::servers::{DOKODEMO, Kind, TROJAN, VLESS};

const NO_HANDLER: &str =
    "app/proxyman/command: failed to get handler: nope > app/proxyman/inbound: handler not found: nope";
const UUID: &str = "4f1b0c8e-7d7d-4b52-9d0e-2f6f7e6a1c33";

type Answer = Result<Vec<u8>, (Code, String)>;

fn refused(text: impl Into<String>) -> Answer {
    Err((Code::Unknown, text.into()))
}

fn unparsed(text: &str) -> Answer {
    refused(format!("app/proxyman/command: failed to parse user > {text}"))
}

pub(crate) async fn every_answer_is_as_measured(kind: &Kind) {
    let (server, _node) = kind.start_empty();
    let raw = Raw::connect(&server.address()).await;
    let done: Answer = Ok(vec![]);
    for (tag, operation, expected) in additions(&done).into_iter().chain(others(&done)) {
        assert_eq!(
            raw.alter(tag, Some(operation.clone())).await,
            expected,
            "{tag} {}",
            String::from_utf8_lossy(&operation)
        );
    }
    for (method, request, expected) in listings() {
        assert_eq!(raw.call(method, request).await, expected, "{method}");
    }
}

fn additions(done: &Answer) -> Vec<(&'static str, Vec<u8>, Answer)> {
    let exists = |email: &str| refused(format!("proxy/vless: User {email} already exists."));
    let long = "x".repeat(31);
    let invalid = |id: &str| unparsed(&format!("proxy/vless: failed to parse ID > common/uuid: invalid UUID: {id}"));
    let user_without_account = typed(&format!("{COMMAND}.AddUserOperation"), &field(1, &field(2, b"bob")));
    let no_user = typed(&format!("{COMMAND}.AddUserOperation"), &[]);
    let missing = || unparsed("common/protocol: Account is missing");
    vec![
        (VLESS, add("alice", vless(UUID)), done.clone()),
        (VLESS, add("alice", vless(UUID)), exists("alice")),
        (VLESS, add("alice", vless(&Uuid::new_v4().to_string())), exists("alice")),
        (VLESS, add("ALICE", vless(UUID)), exists("ALICE")),
        (VLESS, add("word", vless("hello")), done.clone()),
        (VLESS, add("юзер", vless(&Uuid::new_v4().simple().to_string())), done.clone()),
        (VLESS, add("ЮЗЕР", vless(UUID)), exists("ЮЗЕР")),
        (VLESS, add("", vless(&Uuid::new_v4().to_string())), done.clone()),
        (VLESS, add("", vless(&Uuid::new_v4().to_string())), done.clone()),
        (VLESS, add("bob", vless("")), invalid("")),
        (VLESS, add("bob", vless(&long)), invalid(&long)),
        (VLESS, add("bob", vless(&format!("{UUID}0"))), invalid(&format!("{UUID}0"))),
        (
            VLESS,
            add("bob", vless(&"z".repeat(36))),
            unparsed("proxy/vless: failed to parse ID > encoding/hex: invalid byte: U+007A 'z'"),
        ),
        (VLESS, user_without_account, missing()),
        (VLESS, no_user, missing()),
        (VLESS, add("bob", typed("xray.proxy.none.Account", &[])), unparsed("proto: not found")),
        ("nope", add("bob", vless(UUID)), refused(NO_HANDLER)),
        (DOKODEMO, add("bob", vless(UUID)), refused("app/proxyman/command: proxy is not a UserManager")),
    ]
}

fn others(done: &Answer) -> Vec<(&'static str, Vec<u8>, Answer)> {
    let gone = |email: &str| refused(format!("proxy/vless: User {email} not found."));
    let remove_name = format!("{COMMAND}.RemoveUserOperation");
    let unknown = |text: &str| refused(format!("app/proxyman/command: unknown operation > {text}"));
    vec![
        (VLESS, remove("Alice"), done.clone()),
        (VLESS, remove("alice"), gone("alice")),
        (VLESS, remove("Missing"), gone("Missing")),
        (VLESS, remove(""), refused("proxy/vless: Email must not be empty.")),
        (TROJAN, remove(""), refused("proxy/trojan: Email must not be empty.")),
        (TROJAN, remove("x"), refused("proxy/trojan: User x not found.")),
        ("nope", remove("alice"), refused(NO_HANDLER)),
        (DOKODEMO, remove("alice"), refused("app/proxyman/command: proxy is not a UserManager")),
        (VLESS, typed(&format!("type.googleapis.com/{remove_name}"), &[]), unknown("proto: not found")),
        (VLESS, typed("", &[]), unknown("proto: not found")),
        (VLESS, typed("xray.none", &[]), unknown("proto: not found")),
        (VLESS, typed("xray.proxy.vless.Account", &[]), refused("app/proxyman/command: not an inbound operation")),
    ]
}

fn listings() -> Vec<(&'static str, Vec<u8>, Answer)> {
    let of = |tag: &str, email: &str| [field(1, tag.as_bytes()), field(2, email.as_bytes())].concat();
    let word = [field(2, b"word"), field(3, &vless("b7502f40-1152-59f2-ba10-69aeed522cdf"))].concat();
    vec![
        ("GetInboundUsers", of(VLESS, "missing"), Ok(field(1, &[]))),
        ("GetInboundUsers", of(VLESS, "WORD"), Ok(field(1, &word))),
        ("GetInboundUsers", of(TROJAN, ""), Ok(vec![])),
        ("GetInboundUsers", of("nope", ""), refused(NO_HANDLER)),
        ("GetInboundUsers", of("nope", "word"), refused(NO_HANDLER)),
        ("GetInboundUsers", of(DOKODEMO, ""), refused("app/proxyman/command: proxy is not a UserManager")),
        (
            "GetStatsOnlineIpList",
            field(1, b"user>>>word>>>online"),
            Err((Code::NotFound, "user>>>word>>>online not found.".to_owned())),
        ),
    ]
}

async fn ends_the_server(kind: &Kind, tag: &str, operation: Option<Vec<u8>>) {
    let (mut server, _node) = kind.start_empty();
    let raw = Raw::connect(&server.address()).await;
    let answer = raw.alter(tag, operation).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(server.ends());
}

pub(crate) async fn a_request_without_operation_ends_the_server(kind: &Kind) {
    ends_the_server(kind, VLESS, None).await;
}

pub(crate) async fn an_account_of_another_protocol_ends_the_server(kind: &Kind) {
    let trojan = typed("xray.proxy.trojan.Account", &field(1, b"secret"));
    ends_the_server(kind, VLESS, Some(add("bob", trojan))).await;
}

pub(crate) async fn a_vless_account_on_another_inbound_ends_the_server(kind: &Kind) {
    ends_the_server(kind, TROJAN, Some(add("bob", vless(UUID)))).await;
}
