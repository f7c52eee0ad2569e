//! Ways to reach a server, and not to.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use perennial_core::ports::{Removal, Xray as _};
use perennial_testkit::fake_xray::FakeXray;
use perennial_xray::{NodeSettings, XrayNode};

use crate::certificates::Certificates;
use crate::{hasty, in_time, misconfigured, node, patient, remove, unreachable, vless};

/// Neither a change nor a question gets through; the reasons of both.
async fn both_unreachable(node: &XrayNode) -> [String; 2] {
    [unreachable(in_time(remove(node, "p.1")).await), unreachable(in_time(node.list_users(&vless())).await)]
}

fn fake_with_tls(certificates: &Certificates) -> FakeXray {
    let builder = FakeXray::builder().inbound("vless-in").on_tcp();
    builder.tls(&certificates.certificate, &certificates.key).start().unwrap()
}

#[tokio::test]
async fn a_port_and_a_socket_are_reached() {
    let folder = tempfile::tempdir().unwrap();
    let on_tcp = FakeXray::builder().inbound("vless-in").on_tcp().start().unwrap();
    let on_unix = FakeXray::builder().inbound("vless-in").on_unix(&folder.path().join("x.sock")).start().unwrap();
    for fake in [on_tcp, on_unix] {
        assert_eq!(remove(&node(patient(&fake.address())), "p.1").await, Ok(Removal::WasAbsent));
    }
}

#[tokio::test]
async fn a_place_where_nobody_listens_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/api.sock", folder.path().display());
    for address in [format!("http://{free}"), format!("https://{free}"), socket] {
        for reason in both_unreachable(&node(patient(&address))).await {
            assert!(reason.starts_with(&address), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_server_behind_tls_is_reached_with_its_authority() {
    let certificates = Certificates::new();
    let fake = fake_with_tls(&certificates);
    let settings = NodeSettings { ca_file: Some(certificates.ca_file()), ..patient(&fake.address()) };
    let node = node(settings);
    assert_eq!(remove(&node, "p.1").await, Ok(Removal::WasAbsent));
    assert!(node.list_users(&vless()).await.unwrap().is_empty());
}

#[tokio::test]
async fn another_authority_or_name_is_refused_and_said() {
    let certificates = Certificates::new();
    let fake = fake_with_tls(&certificates);
    let stranger = Certificates::new();
    let by_number = fake.address().replace("localhost", "127.0.0.1");
    for (address, ca_file) in
        [(fake.address(), Some(stranger.ca_file())), (fake.address(), None), (by_number, Some(certificates.ca_file()))]
    {
        let node = node(NodeSettings { ca_file, ..patient(&address) });
        for reason in both_unreachable(&node).await {
            assert!(reason.contains("certificate"), "{reason}");
        }
    }
    assert_eq!(fake.calls(), []);
}

#[tokio::test]
async fn tls_and_plaintext_mistaken_for_each_other_are_said() {
    let certificates = Certificates::new();
    let with_tls = fake_with_tls(&certificates);
    let plain = FakeXray::builder().inbound("vless-in").on_tcp().start().unwrap();

    let to_tls = node(hasty(&with_tls.address().replace("https", "http")));
    for reason in both_unreachable(&to_tls).await {
        assert!(reason.contains("http or https right?"), "{reason}");
    }
    let settings =
        NodeSettings { ca_file: Some(certificates.ca_file()), ..patient(&plain.address().replace("http", "https")) };
    for reason in both_unreachable(&node(settings)).await {
        assert!(reason.contains("does not speak TLS"), "{reason}");
    }
}

#[tokio::test]
async fn a_port_of_something_else_is_unreachable() {
    // One says nothing, one says something else, one hangs up.
    for answer in [None, Some("HTTP/1.1 400 Bad Request\r\n\r\n"), Some("")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().map(Result::unwrap) {
                match answer {
                    None => silent.push(stream),
                    Some(text) => {
                        // The client may have left.
                        let _left = stream.read(&mut [0; 16]);
                        let _left = stream.write_all(text.as_bytes());
                    }
                }
            }
        });
        for reason in both_unreachable(&node(hasty(&address))).await {
            assert!(reason.contains("is this its port"), "{answer:?}: {reason}");
        }
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_unreachable() {
    let settings =
        NodeSettings { connect_timeout: Duration::from_secs(3), ..patient("http://no-such-host.invalid:10085") };
    both_unreachable(&node(settings)).await;
}

#[test]
fn settings_that_cannot_work_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    let missing = folder.path().join("missing.pem");
    for (address, ca_file, word) in [
        ("10.0.0.1:10085", None, "http://HOST:PORT"),
        ("http://10.0.0.1", None, "http://HOST:PORT"),
        ("http://10.0.0.1:1", Some(&empty), "ca_file"),
        ("https://a.example:1", Some(&empty), "no certificate"),
        ("https://a.example:1", Some(&missing), "missing.pem"),
    ] {
        let settings = NodeSettings { ca_file: ca_file.cloned(), ..NodeSettings::new("n1", address) };
        let reason = misconfigured(XrayNode::connect(settings));
        assert!(reason.contains(word), "{reason}");
    }
}
