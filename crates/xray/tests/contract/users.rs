//! Users of an inbound.

use futures_util::{StreamExt as _, stream};
use perennial_core::ports::{Addition, FoundUser, Removal, Xray as _, XrayUser};
use perennial_testkit::real_xray::CLIENT_ADDRESS;
use perennial_xray::XrayNode;
use uuid::Uuid;

use crate::servers::{Kind, Stage, VLESS, tag};

fn user(email: &str, uuid: Uuid) -> XrayUser {
    XrayUser { email: email.to_owned(), uuid, flow: String::new() }
}

async fn add(node: &XrayNode, email: &str, uuid: Uuid) -> Addition {
    node.add_user(&tag(VLESS), &user(email, uuid)).await.unwrap()
}

async fn remove(node: &XrayNode, email: &str) -> Removal {
    node.remove_user(&tag(VLESS), email).await.unwrap()
}

async fn find(node: &XrayNode, email: &str) -> Option<FoundUser> {
    node.find_user(&tag(VLESS), email).await.unwrap()
}

async fn emails(node: &XrayNode) -> Vec<String> {
    node.list_users(&tag(VLESS)).await.unwrap().iter().map(|user| user.email.to_owned()).collect()
}

pub(crate) async fn an_added_user_can_connect_until_removed(kind: &Kind) {
    let (server, node) = kind.start_empty();
    let uuid = Uuid::new_v4();
    assert!(emails(&node).await.is_empty());
    assert_eq!(find(&node, "p.1").await, None);
    assert!(!server.can_connect(uuid));

    assert_eq!(add(&node, "p.1", uuid).await, Addition::Added);
    let expected = FoundUser { email: "p.1".to_owned(), uuid: Some(uuid), flow: String::new() };
    assert_eq!(find(&node, "p.1").await, Some(expected));
    assert_eq!(emails(&node).await, ["p.1"]);
    assert!(server.can_connect(uuid));

    assert_eq!(remove(&node, "p.1").await, Removal::Removed);
    assert_eq!(find(&node, "p.1").await, None);
    assert!(emails(&node).await.is_empty());
    assert!(!server.can_connect(uuid));
}

pub(crate) async fn adding_an_e_mail_again_changes_nothing(kind: &Kind) {
    let (server, node) = kind.start_empty();
    let [first, second] = [Uuid::new_v4(), Uuid::new_v4()];
    assert_eq!(add(&node, "p.1", first).await, Addition::Added);
    assert_eq!(add(&node, "p.1", first).await, Addition::WasPresent);
    assert_eq!(add(&node, "p.1", second).await, Addition::WasPresent);
    assert_eq!(find(&node, "p.1").await.unwrap().uuid, Some(first));
    assert!(server.can_connect(first));
    assert!(!server.can_connect(second));
}

pub(crate) async fn removing_who_is_not_there_says_so(kind: &Kind) {
    let (_server, node) = kind.start_empty();
    assert_eq!(remove(&node, "p.1").await, Removal::WasAbsent);
    add(&node, "p.1", Uuid::new_v4()).await;
    assert_eq!(remove(&node, "p.1").await, Removal::Removed);
    assert_eq!(remove(&node, "p.1").await, Removal::WasAbsent);
}

pub(crate) async fn a_replaced_user_connects_with_the_new_uuid_only(kind: &Kind) {
    let (server, node) = kind.start_empty();
    let [old, new] = [Uuid::new_v4(), Uuid::new_v4()];
    add(&node, "p.1", old).await;
    remove(&node, "p.1").await;
    assert_eq!(add(&node, "p.1", new).await, Addition::Added);
    assert!(server.can_connect(new));
    assert!(!server.can_connect(old));
    assert_eq!(emails(&node).await, ["p.1"]);
}

pub(crate) async fn two_users_of_one_uuid_are_both_cut_off_by_the_removal_of_either(kind: &Kind) {
    let (server, node) = kind.start_empty();
    let uuid = Uuid::new_v4();
    assert_eq!(add(&node, "p.1", uuid).await, Addition::Added);
    assert_eq!(add(&node, "p.2", uuid).await, Addition::Added);
    assert_eq!(remove(&node, "p.1").await, Removal::Removed);
    // Listed, and cannot connect: the reason why a new credential always has a new UUID.
    assert_eq!(emails(&node).await, ["p.2"]);
    assert!(!server.can_connect(uuid));
}

pub(crate) async fn uuids_that_differ_in_their_third_group_are_one_credential(kind: &Kind) {
    let (server, node) = kind.start_empty();
    let [one, other] = [0x4abc, 0x4def]
        .map(|group| Uuid::from_fields(0x1122_3344, 0x5566, group, b"\x8a\x01\x02\x03\x04\x05\x06\x07"));
    assert_eq!(add(&node, "p.1", one).await, Addition::Added);
    assert!(server.can_connect(other));
    assert_eq!(add(&node, "p.2", other).await, Addition::Added);
    remove(&node, "p.2").await;
    assert!(!server.can_connect(one));
    assert_eq!(emails(&node).await, ["p.1"]);
}

pub(crate) async fn a_restart_forgets_the_added_and_brings_back_the_configured(kind: &Kind) {
    let [configured, added] = [Uuid::new_v4(), Uuid::new_v4()];
    let mut server = kind.start(Stage { users: vec![("admin.1", configured)], ..Stage::default() });
    let node = server.node();
    assert_eq!(emails(&node).await, ["admin.1"]);
    remove(&node, "admin.1").await;
    add(&node, "p.1", added).await;
    assert_eq!(emails(&node).await, ["p.1"]);

    server.restart().await;
    assert_eq!(emails(&node).await, ["admin.1"]);
    assert!(server.can_connect(configured));
    assert!(!server.can_connect(added));
    assert!(node.status().await.unwrap().uptime.as_secs() < 60);
}

pub(crate) async fn a_user_without_an_e_mail_is_invisible(kind: &Kind) {
    let [nameless, named] = [Uuid::new_v4(), Uuid::new_v4()];
    let server = kind.start(Stage { users: vec![("", nameless), ("admin.1", named)], ..Stage::default() });
    assert_eq!(emails(&server.node()).await, ["admin.1"]);
    assert!(server.can_connect(nameless));
}

pub(crate) async fn an_e_mail_in_capitals_is_listed_and_removed_in_lower_case(kind: &Kind) {
    let uuid = Uuid::new_v4();
    let server = kind.start(Stage { users: vec![("P.One", uuid)], ..Stage::default() });
    let node = server.node();
    assert_eq!(emails(&node).await, ["p.one"]);
    assert_eq!(find(&node, "p.one").await.unwrap().email, "p.one");
    assert_eq!(add(&node, "p.one", uuid).await, Addition::WasPresent);
    assert_eq!(remove(&node, "p.one").await, Removal::Removed);
    assert!(emails(&node).await.is_empty());
}

pub(crate) async fn a_flow_is_kept_as_sent(kind: &Kind) {
    let (_server, node) = kind.start_empty();
    let flow = "xtls-rprx-vision";
    let with_flow = XrayUser { flow: flow.to_owned(), ..user("p.1", Uuid::new_v4()) };
    node.add_user(&tag(VLESS), &with_flow).await.unwrap();
    add(&node, "p.2", Uuid::new_v4()).await;
    assert_eq!(find(&node, "p.1").await.unwrap().flow, flow);
    let list = node.list_users(&tag(VLESS)).await.unwrap();
    assert_eq!(list.find("p.1").unwrap().flow, flow);
    assert_eq!(list.find("p.2").unwrap().flow, "");
}

pub(crate) async fn many_calls_at_once_are_all_done(kind: &Kind) {
    const USERS: u128 = 500;
    let (server, node) = kind.start_empty();
    let uuid = |i| Uuid::from_u128(0x4f1b_0c8e_7d7d_0000_9d0e_0000_0000_0000 + i);
    let added = stream::iter(0..USERS).map(|i| {
        let email = format!("p.{i}");
        let node = &node;
        async move { add(node, &email, uuid(i)).await }
    });
    let added: Vec<Addition> = added.buffer_unordered(64).collect().await;
    assert!(added.iter().all(|addition| *addition == Addition::Added));
    let list = node.list_users(&tag(VLESS)).await.unwrap();
    assert_eq!(list.len(), 500);
    assert!((0..USERS).all(|i| list.find(&format!("p.{i}")).is_some_and(|user| user.uuid == Some(uuid(i)))));

    let removed = stream::iter(1..USERS).map(|i| {
        let email = format!("p.{i}");
        let node = &node;
        async move { remove(node, &email).await }
    });
    let removed: Vec<Removal> = removed.buffer_unordered(64).collect().await;
    assert!(removed.iter().all(|removal| *removal == Removal::Removed));
    assert_eq!(emails(&node).await, ["p.0"]);
    assert!(server.can_connect(uuid(0)));
}

pub(crate) async fn a_removed_user_stays_connected_and_is_counted_as_online(kind: &Kind) {
    let (server, node) = kind.start_empty();
    let uuid = Uuid::new_v4();
    add(&node, "p.1", uuid).await;
    add(&node, "p.2", Uuid::new_v4()).await;
    let asked = ["p.1", "p.2"].map(str::to_owned);
    assert_eq!(node.online(&asked).await.unwrap(), Some(vec![]));

    let mut session = server.session("p.1", uuid);
    let online = node.online(&asked).await.unwrap().unwrap();
    assert_eq!(online.len(), 1, "{online:?}");
    assert_eq!((online[0].email.as_str(), online[0].addresses.as_slice()), ("p.1", &[CLIENT_ADDRESS.to_owned()][..]));

    remove(&node, "p.1").await;
    assert!(session.still_passes_traffic());
    assert!(!server.can_connect(uuid));
    assert_eq!(node.online(&asked).await.unwrap().unwrap().len(), 1);
    assert_eq!(node.online(&["p.2".to_owned()]).await.unwrap(), Some(vec![]));
}
