//! The way to the server: connections, proxies, and what fails on it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{CHAT, meaning, message_to, settings, telegram};
use perennial_core::ports::Messenger as _;
use perennial_telegram::Telegram;
use perennial_testkit::fake_telegram::{FakeTelegram, Fault, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// An address where nobody listens.
async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn through(proxy: String, api: &str) -> Telegram {
    let mut settings = settings(api);
    settings.proxy = Some(proxy.into());
    Telegram::new(settings).unwrap()
}

/// A SOCKS5 proxy that leads everybody to `target`, whatever they ask for; or lets nobody through.
async fn socks5(target: Option<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(relay(stream, target));
        }
    });
    address
}

async fn relay(mut client: TcpStream, target: Option<SocketAddr>) -> std::io::Result<()> {
    let mut buffer = [0; 512];
    // Greeting: no authentication. Then the request, whose target does not matter here.
    let _length = client.read(&mut buffer).await?;
    client.write_all(&[5, 0]).await?;
    let _length = client.read(&mut buffer).await?;
    let Some(target) = target else {
        return client.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    };
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    let mut server = TcpStream::connect(target).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let port = closed_port().await;
    let result = telegram(&format!("http://{port}")).send(&message_to(CHAT)).await;
    assert_eq!(meaning(&result), "transient", "{result:?}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_got_no_message() {
    let result = telegram("http://nowhere.invalid").send(&message_to(CHAT)).await;
    assert_eq!(meaning(&result), "transient", "{result:?}");
}

#[tokio::test]
async fn a_dozen_messages_use_one_connection() {
    let fake = FakeTelegram::start_with(Limits::NONE).unwrap();
    let telegram = telegram(&fake.api());
    assert_eq!(fake.connections(), 0, "nothing is connected before a message is due");
    for _ in 0..12 {
        telegram.send(&message_to(CHAT)).await.unwrap();
    }
    assert_eq!((fake.connections(), fake.messages().len()), (1, 12));
}

#[tokio::test]
async fn a_refusal_keeps_the_connection() {
    let fake = FakeTelegram::start_with(Limits::NONE).unwrap();
    let telegram = telegram(&fake.api());
    fake.fail_all(Fault::BLOCKED);
    for _ in 0..5 {
        telegram.send(&message_to(CHAT)).await.unwrap_err();
    }
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn messages_go_through_an_http_proxy() {
    // The fake server reads the request as a proxy gets it.
    let fake = FakeTelegram::start().unwrap();
    let result = through(fake.api(), "http://telegram.invalid").send(&message_to(CHAT)).await;
    assert_eq!(result, Ok(1));
    assert_eq!(fake.messages_of(CHAT).len(), 1);
}

#[tokio::test]
async fn messages_go_through_a_socks_proxy() {
    let fake = FakeTelegram::start().unwrap();
    let proxy = socks5(Some(fake.address())).await;
    let result = through(format!("socks5h://{proxy}"), "http://telegram.invalid").send(&message_to(CHAT)).await;
    assert_eq!(result, Ok(1));
}

#[tokio::test]
async fn a_proxy_that_fails_sent_nothing() {
    let fake = FakeTelegram::start().unwrap();
    let port = closed_port().await;
    let refusing = socks5(None).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_address = silent.local_addr().unwrap();
    for (proxy, api) in [
        (format!("http://{port}"), "http://telegram.invalid"),
        (format!("http://{port}"), "https://telegram.invalid"),
        (format!("socks5h://{port}"), "https://telegram.invalid"),
        (format!("socks5h://{refusing}"), "https://telegram.invalid"),
        (format!("socks5h://{silent_address}"), "https://telegram.invalid"),
        // The fake lets nobody tunnel through.
        (fake.api(), "https://telegram.invalid"),
        ("http://nowhere.invalid:1".to_owned(), "https://telegram.invalid"),
    ] {
        let result = through(proxy.clone(), api).send(&message_to(CHAT)).await;
        assert_eq!(meaning(&result), "transient", "{proxy} {api}: {result:?}");
    }
    fake.fail_call(1, Fault::Page(502));
    let result = through(fake.api(), "http://telegram.invalid").send(&message_to(CHAT)).await;
    assert_eq!(meaning(&result), "transient");
    assert!(fake.messages().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let fake = FakeTelegram::start().unwrap();
    for status in [301, 302, 307, 308] {
        fake.fail_call(1, Fault::Page(status));
        assert_eq!(meaning(&telegram(&fake.api()).send(&message_to(CHAT)).await), "transient");
    }
    assert_eq!(fake.calls(), 4);
}

#[test]
fn the_environment_chooses_no_proxy() {
    // A process of its own, since the environment is one for all threads: a test above that sends, once more.
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "a_dozen_messages_use_one_connection"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        again.env(name, "http://127.0.0.1:9");
    }
    for name in ["no_proxy", "NO_PROXY"] {
        again.env_remove(name);
    }
    let output = again.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

#[tokio::test]
async fn messages_under_way_at_once_do_not_disturb_each_other() {
    let fake = FakeTelegram::start_with(Limits::NONE).unwrap();
    let telegram = telegram(&fake.api());
    fake.fail_chat(2, Fault::HangBeforeAnswer { taken: false });
    fake.fail_chat(3, Fault::BLOCKED);
    let (one, two, three) = (message_to(1), message_to(2), message_to(3));
    let finished = AtomicUsize::new(0);
    let send = async |message| {
        let result = telegram.send(message).await;
        (meaning(&result), finished.fetch_add(1, Ordering::Relaxed))
    };
    let (one, two, three) = tokio::join!(send(&one), send(&two), send(&three));
    assert_eq!((one.0.as_str(), two.0.as_str(), three.0.as_str()), ("sent", "unknown", "unreachable"));
    assert_eq!(two.1, 2, "the hanging one held up another");
}
