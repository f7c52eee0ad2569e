//! The settings and their checks. No error shows a value: each may hold a secret.

use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use crate::token::Token;

/// Telegram's own address.
pub const TELEGRAM_API: &str = "https://api.telegram.org";

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const READ_LIMIT: Duration = Duration::from_secs(10);
const TOTAL_LIMIT: Duration = Duration::from_secs(20);

/// Schemes of proxies; with `socks5h` the proxy resolves the name, with `socks5` this machine does.
const PROXY_SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// What a bot is and how to reach it.
#[derive(Debug, Clone)]
pub struct TelegramSettings {
    /// Address of the Bot API, with or without a path; [`TELEGRAM_API`] if there is no other.
    pub api: String,
    /// The bot's token.
    pub token: SecretString,
    /// Address of a proxy, `http`, `https`, `socks5` or `socks5h`; may hold a password. The environment's proxies are
    /// not used: which way the token takes is a setting.
    pub proxy: Option<SecretString>,
    /// For name, connection and TLS together; default 5 s. When it is over, nothing was sent. Must be below the total.
    pub connect_limit: Duration,
    /// Without a part of the answer, once connecting is over; default 10 s. Too short makes sent messages unknown ones.
    pub read_limit: Duration,
    /// For all of it; default 20 s. A claim's lease must be longer.
    pub total_limit: Duration,
}

impl TelegramSettings {
    /// Telegram's own address, no proxy, the default limits.
    #[must_use]
    pub fn new(token: SecretString) -> Self {
        Self {
            api: TELEGRAM_API.to_owned(),
            token,
            proxy: None,
            connect_limit: CONNECT_LIMIT,
            read_limit: READ_LIMIT,
            total_limit: TOTAL_LIMIT,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum TelegramSettingsError {
    /// There is no token.
    #[error("the bot token is empty")]
    EmptyToken,
    /// The token has a character that cannot stand in an address.
    #[error("the bot token has a character that no token has, at position {position}")]
    BadToken {
        /// Counted from 1.
        position: usize,
    },
    /// The Bot API's address is none.
    #[error("the Bot API's address must begin with http:// or https://, name a host and have neither ? nor #")]
    BadApi,
    /// The proxy's address is none.
    #[error("the proxy's address must begin with http://, https://, socks5:// or socks5h:// and name a host")]
    BadProxy,
}

/// Where messages are sent.
pub(crate) fn endpoint(api: &str, token: &Token) -> Result<Url, TelegramSettingsError> {
    let base: Url = api.trim().parse().map_err(|_| TelegramSettingsError::BadApi)?;
    let is_plain = base.query().is_none() && base.fragment().is_none();
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() || !is_plain {
        return Err(TelegramSettingsError::BadApi);
    }
    let mut url = base;
    let path = format!("{}/bot{}/sendMessage", url.path().trim_end_matches('/'), token.expose());
    url.set_path(&path);
    Ok(url)
}

pub(crate) fn check_proxy(proxy: Option<&SecretString>) -> Result<(), TelegramSettingsError> {
    let Some(proxy) = proxy else {
        return Ok(());
    };
    let url: Url = proxy.expose_secret().trim().parse().map_err(|_| TelegramSettingsError::BadProxy)?;
    let is_known = PROXY_SCHEMES.contains(&url.scheme());
    if is_known && url.has_host() { Ok(()) } else { Err(TelegramSettingsError::BadProxy) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Telegram;

    fn with(change: impl FnOnce(&mut TelegramSettings)) -> Result<Telegram, TelegramSettingsError> {
        let mut settings = TelegramSettings::new("1:secret".into());
        change(&mut settings);
        Telegram::new(settings)
    }

    #[test]
    fn addresses_are_checked_before_anything_is_due() {
        for good in ["https://api.telegram.org", "http://127.0.0.1:8081/", "https://example.org/telegram/"] {
            assert!(with(|settings| settings.api = good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "api.telegram.org", "ftp://a", "https://", "https://a/?q", "https://a/#f", "unix:/run/x"] {
            let error = with(|settings| settings.api = bad.to_owned()).err();
            assert_eq!(error, Some(TelegramSettingsError::BadApi), "{bad}");
        }
        for good in ["http://p:3128", "https://p", "socks5://u:w@p:1080", "socks5h://p"] {
            assert!(with(|settings| settings.proxy = Some(good.into())).is_ok(), "{good}");
        }
        for bad in ["", "p:3128", "socks4://p", "ftp://p"] {
            let error = with(|settings| settings.proxy = Some(bad.into())).err();
            assert_eq!(error, Some(TelegramSettingsError::BadProxy), "{bad}");
        }
    }

    #[test]
    fn the_endpoint_keeps_the_path_of_the_api() {
        let token = Token::new(&"1:a-b_c".into()).unwrap();
        let endpoint = |api| endpoint(api, &token).map(|url| url.to_string());
        assert_eq!(endpoint("https://a"), Ok("https://a/bot1:a-b_c/sendMessage".to_owned()));
        assert_eq!(endpoint("http://a:1/b/"), Ok("http://a:1/b/bot1:a-b_c/sendMessage".to_owned()));
    }

    #[test]
    fn nothing_printed_holds_a_secret() {
        let settings =
            TelegramSettings { proxy: Some("http://u:word@p".into()), ..TelegramSettings::new("1:secret".into()) };
        let telegram = Telegram::new(settings.clone()).unwrap();
        let printed = format!("{settings:?} {settings:#?} {telegram:?} {telegram:#?}");
        assert!(!printed.contains("secret") && !printed.contains("word"), "{printed}");
        assert!(printed.contains("api.telegram.org"));
    }
}
