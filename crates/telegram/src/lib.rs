//! The Bot API behind [`Messenger`]: sends a message and says what became of it.
//!
//! **The token is part of the URL.** Three things keep it out of logs, errors and panics: transport errors are put into
//! words in one place, which drops the URL (`failure`); what a server says passes `Token::mask` before it becomes a
//! reason, because web servers like to repeat the path they were asked for; redirects are not followed, so nobody else is
//! shown it. A test runs every kind of failure with all logs at their most talkative and looks for the token in them.
//!
//! **What is certain.** sendMessage has no request key, so an error has to say whether the message may have been sent:
//! [`MessengerError::Transient`] only for what failed before the request left, or was answered by somebody who says that
//! it was not done. No answer in time, a connection that broke, an answer nobody can read, and a gateway that gave up
//! waiting (504) are [`MessengerError::Unknown`]. An answer counts as the Bot API's only when it is JSON with `ok`: a
//! 401, 403 or 404 page of some proxy stops no run and marks no user.
//!
//! The client is built, with its TLS set-up, when the first message is due: most passes have none.

mod answer;
mod client;
mod failure;
mod settings;
mod token;

use std::fmt;
use std::time::Instant;

use perennial_core::ports::{Message, Messenger, MessengerError};
use reqwest::{Client, Response, Url};
use serde::Serialize;
use tokio::sync::OnceCell;
use tokio::time::timeout;

#[cfg(feature = "fuzzing")]
pub use answer::meaning;
pub use settings::{TELEGRAM_API, TelegramSettings, TelegramSettingsError};

use answer::Answer;
use token::Token;

/// An answer of the Bot API is some hundred bytes, a page of a gateway a few thousand. What is longer is cut, and then
/// no JSON any more.
const MAX_ANSWER_BYTES: usize = 1 << 16;

/// A bot that sends messages.
pub struct Telegram {
    settings: TelegramSettings,
    token: Token,
    /// Holds the token: never printed.
    endpoint: Url,
    client: OnceCell<Client>,
    roots: Option<rustls::RootCertStore>,
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telegram").field("host", &self.host()).field("bot", &self.bot()).finish()
    }
}

impl Telegram {
    /// A bot with these settings. Cheap: it checks them and connects to nothing.
    ///
    /// # Errors
    /// A setting cannot be used; the error names it and never shows it.
    pub fn new(settings: TelegramSettings) -> Result<Self, TelegramSettingsError> {
        let token = Token::new(&settings.token)?;
        let endpoint = settings::endpoint(&settings.api, &token)?;
        settings::check_proxy(settings.proxy.as_ref())?;
        Ok(Self { settings, token, endpoint, client: OnceCell::new(), roots: None })
    }

    /// Names the bot without its secret: the number before the colon of the token. For the key of its pace.
    #[must_use]
    pub fn bot(&self) -> &str {
        self.token.bot()
    }

    /// Where the Bot API is asked: host name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default()
    }

    /// Trusts these authorities instead of the public ones.
    #[cfg(test)]
    fn trusting(mut self, roots: rustls::RootCertStore) -> Self {
        self.roots = Some(roots);
        self
    }

    async fn post(&self, message: &Message) -> Result<Response, MessengerError> {
        let build = async || client::build(&self.settings, self.roots.clone());
        let client = self.client.get_or_try_init(build).await.map_err(|reason| {
            // Nothing was sent, and the next pass may find the machine in a better state.
            MessengerError::Transient { reason }
        })?;
        let sending = client.post(self.endpoint.clone()).json(&SendMessage::of(message)).send();
        let limit = self.settings.connect_limit + self.settings.read_limit;
        match timeout(limit, sending).await {
            Ok(answered) => answered.map_err(|error| failure::before_an_answer(error, &self.token)),
            Err(_) => Err(MessengerError::Unknown { reason: "no answer in time".to_owned() }),
        }
    }
}

impl Messenger for Telegram {
    /// Takes no longer than the settings' `total_limit`. Retries nothing.
    async fn send(&self, message: &Message) -> Result<i64, MessengerError> {
        let begun = Instant::now();
        let answer = Answer::read(self.post(message).await?, self.settings.read_limit, &self.token).await;
        log::debug!(
            status = answer.status,
            elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            "sendMessage was answered"
        );
        answer.meaning(&self.token)
    }
}

/// The request. Link previews are off: a receipt is no advertisement.
#[derive(Serialize)]
struct SendMessage<'a> {
    chat_id: i64,
    text: &'a str,
    parse_mode: &'static str,
    link_preview_options: LinkPreview,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_markup: Option<Keyboard<'a>>,
}

#[derive(Serialize)]
struct LinkPreview {
    is_disabled: bool,
}

#[derive(Serialize)]
struct Keyboard<'a> {
    inline_keyboard: [[LinkButton<'a>; 1]; 1],
}

#[derive(Serialize)]
struct LinkButton<'a> {
    text: &'a str,
    url: &'a str,
}

impl<'a> SendMessage<'a> {
    fn of(message: &'a Message) -> Self {
        let button = message.button.as_ref().map(|button| LinkButton { text: &button.caption, url: &button.url });
        Self {
            chat_id: message.chat_id,
            text: &message.html,
            parse_mode: "HTML",
            link_preview_options: LinkPreview { is_disabled: true },
            reply_markup: button.map(|button| Keyboard { inline_keyboard: [[button]] }),
        }
    }
}

#[cfg(test)]
mod tls_tests;
