//! The HTTP client: TLS, limits, proxy.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Proxy};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;

use crate::failure;
use crate::settings::TelegramSettings;

/// Telegram closes idle connections after a minute or so; a request into a connection that is just being closed would be
/// sent or not, so ours are given up earlier.
const IDLE_LIMIT: Duration = Duration::from_secs(20);
/// More than the messages that are ever under way at once.
const IDLE_CONNECTIONS: usize = 32;

/// Builds the client, or says why not.
pub(crate) fn build(settings: &TelegramSettings, roots: Option<RootCertStore>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls(roots)?)
        .connect_timeout(settings.connect_limit)
        // Its `read_timeout` would also run while connecting, and then call unknown what never left.
        .timeout(settings.total_limit)
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        // The path would go to wherever a redirect points, and as a referrer beyond.
        .redirect(Policy::none())
        .referer(false)
        // The outbox decides what is tried again.
        .retry(reqwest::retry::never())
        .no_proxy()
        .user_agent(concat!("perennial/", env!("CARGO_PKG_VERSION")));
    if let Some(proxy) = &settings.proxy {
        let proxy = Proxy::all(proxy.expose_secret().trim()).map_err(failure::words)?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(failure::words)
}

/// Trusts the public authorities, which are built in. The provider is named: several in one build make
/// `ClientConfig::builder` panic.
fn tls(roots: Option<RootCertStore>) -> Result<ClientConfig, String> {
    let roots = roots.unwrap_or_else(|| RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS: {error}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
