//! Over TLS, where the authority can be our own only inside this crate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use perennial_core::ports::{Message, Messenger as _, MessengerError};
use perennial_testkit::fake_telegram::{FakeTelegram, TOKEN};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{Telegram, TelegramSettings};

fn message() -> Message {
    Message { chat_id: 7, html: "hello".to_owned(), button: None }
}

fn settings(address: SocketAddr) -> TelegramSettings {
    TelegramSettings {
        api: format!("https://localhost:{}", address.port()),
        connect_limit: Duration::from_secs(2),
        ..TelegramSettings::new(TOKEN.into())
    }
}

/// A server for the name `localhost` that passes on what it decrypts; and who vouches for it.
async fn tls_in_front_of(target: SocketAddr) -> (SocketAddr, RootCertStore) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut inside = acceptor.accept(stream).await?;
                let mut outside = TcpStream::connect(target).await?;
                copy_bidirectional(&mut inside, &mut outside).await
            });
        }
    });
    (address, roots)
}

#[tokio::test]
async fn a_message_goes_over_tls_to_a_server_that_somebody_trusted_vouches_for() {
    let fake = FakeTelegram::start().unwrap();
    let (address, roots) = tls_in_front_of(fake.address()).await;
    let telegram = Telegram::new(settings(address)).unwrap().trusting(roots);
    assert_eq!(telegram.send(&message()).await, Ok(1));
    assert_eq!(fake.messages_of(7).len(), 1);
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_no_message() {
    let fake = FakeTelegram::start().unwrap();
    let (address, _) = tls_in_front_of(fake.address()).await;
    let telegram = Telegram::new(settings(address)).unwrap();
    let error = telegram.send(&message()).await.unwrap_err();
    assert!(matches!(&error, MessengerError::Transient { reason } if reason.contains("certificate")), "{error}");
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_gets_no_message() {
    let fake = FakeTelegram::start().unwrap();
    let telegram = Telegram::new(settings(fake.address())).unwrap();
    let error = telegram.send(&message()).await.unwrap_err();
    assert!(matches!(error, MessengerError::Transient { .. }), "{error}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_off_and_nothing_was_sent() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(silent.local_addr().unwrap());
    settings.connect_limit = Duration::from_millis(200);
    let error = Telegram::new(settings).unwrap().send(&message()).await.unwrap_err();
    assert!(matches!(error, MessengerError::Transient { .. }), "{error}");
}
