//! What a server may answer wrongly or not at all, given to both passes that remove: the comparison takes nobody off, no
//! removal is believed, and the exit code is the documented one. Databases that are wrong: `reconcile_brakes`.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use std::time::Duration;

use access_support::{TAG, World, inbound};
use perennial_core::node::Node;
use perennial_testkit::builders::Status;
use perennial_testkit::db_test;
use perennial_testkit::fake_xray::{FakeXray, Fault, Kind, When};
use perennial_xray::{NodeSettings, XrayNode};

/// So many that both passes list them.
const ENDED: i64 = 70;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    WrongTag,
    Unimplemented,
    TlsWhereThereIsNone,
    Hang,
    ListCutShort,
    ListThatEndsEarly,
    ListOverTheLimit,
}

/// Each, the exit code of both passes, and what is said of the node.
const INPUTS: [(Input, u8, &str); 7] = [
    (Input::WrongTag, 3, TAG),
    (Input::Unimplemented, 3, "HandlerService"),
    (Input::TlsWhereThereIsNone, 69, "does not speak TLS"),
    (Input::Hang, 69, "none within"),
    (Input::ListCutShort, 69, "de1: "),
    (Input::ListThatEndsEarly, 69, "de1: "),
    (Input::ListOverTheLimit, 3, "max_list_bytes"),
];

fn server(input: Input) -> FakeXray {
    let builder = FakeXray::builder().on_tcp();
    let builder = match input {
        Input::WrongTag => builder.inbound("another"),
        Input::Unimplemented => builder.inbound(TAG).services(&["StatsService"]),
        _ => builder.inbound(TAG),
    };
    let server = builder.start().unwrap();
    match input {
        Input::Hang => server.inject(When::any(), Fault::RequestLost),
        Input::ListCutShort => server.inject(When::on(Kind::List), Fault::CutAfter(1_000)),
        Input::ListThatEndsEarly => server.inject(When::on(Kind::List), Fault::EndAfter(1_000)),
        _ => {}
    }
    server
}

fn node(input: Input, server: &FakeXray) -> Node<XrayNode> {
    let address = server.address();
    let address = if input == Input::TlsWhereThereIsNone { address.replace("http:", "https:") } else { address };
    let mut settings = NodeSettings::new("de1", address);
    settings.call_timeout = Duration::from_millis(if input == Input::Hang { 200 } else { 20_000 });
    settings.list_timeout = settings.call_timeout;
    settings.max_list_bytes = if input == Input::ListOverTheLimit { 1_000 } else { settings.max_list_bytes };
    let xray = XrayNode::connect(settings).unwrap();
    Node { name: "de1".to_owned(), inbounds: vec![inbound(TAG, "basic")], xray }
}

#[test]
fn bad_answers_of_a_server_take_nobody_off_and_prove_nothing_and_have_their_exit_codes() {
    for (input, code, said) in INPUTS {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = server(input);
            let tag = if input == Input::WrongTag { "another" } else { TAG };
            for n in 1..=ENDED {
                let ended = world.subscriber(n, Status::Expiring, -time::Duration::minutes(1)).await;
                server.put_user(tag, &ended.email, ended.uuid, "");
            }
            let payer = world.payer(ENDED + 1).await;
            server.put_user(tag, &payer.email, payer.uuid, "");
            // So that the list is long also without the ended ones.
            for n in 0..100 {
                server.put_user(tag, &format!("other.{n}"), uuid::Uuid::new_v4(), "");
            }
            let all = server.users(tag).len();

            let ran = world.pass().limits(None, 100).run_on(&[node(input, &server)]).await;
            let error = ran.only().error.clone().unwrap_or_default();
            assert_eq!(ran.code(), code, "{input:?}: {:?}", ran.summary);
            assert!(error.contains(said), "{input:?}: {error}");
            let there = server.users(tag).len();
            assert_eq!(there, all, "{input:?}: somebody was taken off");

            let ran = world.expire().run_on(&[node(input, &server)]).await;
            let error = ran.node("de1").error.clone().unwrap_or_default();
            assert_eq!((ran.code(), ran.count("proven"), ran.count("expired")), (code, 0, 0), "{input:?}: {ran:?}");
            assert!(error.contains(said), "{input:?}: {error}");
            assert!(server.can_connect_at(tag, payer.uuid), "{input:?}");
            let takes_removals = [Input::ListCutShort, Input::ListThatEndsEarly, Input::ListOverTheLimit];
            let stay = if takes_removals.contains(&input) { 101 } else { all };
            assert_eq!(server.users(tag).len(), stay, "{input:?}");
            assert_eq!(world.number("SELECT count(*) FROM subscriptions WHERE status = 'expiring'").await, ENDED);
        });
    }
}
