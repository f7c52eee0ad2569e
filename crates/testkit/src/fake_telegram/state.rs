//! What the server decides about a call. No clock and no network: the time is given.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::fault::{Fault, Refusal};
use super::limits::{Limits, Meter};
use super::markup;

/// The longest text, in characters without markup.
const MAX_CHARACTERS: usize = 4096;

/// A message the server took.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Counts up from 1.
    pub message_id: i64,
    /// To whom.
    pub chat_id: i64,
    /// As sent, with its markup.
    pub text: String,
    /// Caption and link of the button.
    pub button: Option<(String, String)>,
    /// Since the server's start.
    pub at: Duration,
    /// The whole request.
    pub request: Value,
}

/// What the server does about a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Sent(Received),
    Refused(Refusal),
    /// 429 by the server's own count.
    TooFast {
        seconds: u32,
    },
    /// As scripted. With the message where it is taken.
    Faulty(Fault, Option<Received>),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) accepted_token: Option<String>,
    pub(super) by_call: HashMap<u64, Fault>,
    pub(super) by_chat: HashMap<i64, Fault>,
    pub(super) for_all: Option<Fault>,
    pub(super) calls: u64,
    pub(super) throttled: u64,
    pub(super) history: Vec<Received>,
    meter: Meter,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            accepted_token: None,
            by_call: HashMap::new(),
            by_chat: HashMap::new(),
            for_all: None,
            calls: 0,
            throttled: 0,
            history: Vec::new(),
            meter: Meter::new(limits),
        }
    }

    pub(super) fn heal(&mut self) {
        self.by_call.clear();
        self.by_chat.clear();
        self.for_all = None;
        self.meter.open();
    }

    /// Decides about one call of `sendMessage`.
    pub(super) fn send_message(&mut self, now: Duration, token: &str, request: &Value) -> Reply {
        self.calls += 1;
        let chat_id = chat_id(request);
        let scripted = self.by_call.remove(&self.calls);
        let scripted = scripted.or_else(|| self.by_chat.get(&chat_id?).cloned()).or_else(|| self.for_all.clone());
        match scripted {
            Some(fault) => self.fail(now, fault, chat_id, request),
            None => self.serve(now, token, chat_id, request),
        }
    }

    fn fail(&mut self, now: Duration, fault: Fault, chat_id: Option<i64>, request: &Value) -> Reply {
        if let Fault::Throttle { seconds, .. } = fault {
            self.meter.close(now, seconds);
        }
        let taken = fault.is_taken().then(|| self.take(now, chat_id.unwrap_or_default(), request));
        Reply::Faulty(fault, taken)
    }

    fn serve(&mut self, now: Duration, token: &str, chat_id: Option<i64>, request: &Value) -> Reply {
        if self.accepted_token.as_deref().is_some_and(|accepted| accepted != token) {
            return Reply::Refused(Refusal::new(401, "Unauthorized"));
        }
        if let Some(seconds) = self.meter.closed_for(now) {
            self.throttled += 1;
            return Reply::TooFast { seconds };
        }
        let chat_id = match complaint(chat_id, request) {
            Ok(chat_id) => chat_id,
            Err(refusal) => return Reply::Refused(refusal),
        };
        match self.meter.count(now, chat_id) {
            Ok(()) => Reply::Sent(self.take(now, chat_id, request)),
            Err(seconds) => {
                self.throttled += 1;
                Reply::TooFast { seconds }
            }
        }
    }

    fn take(&mut self, now: Duration, chat_id: i64, request: &Value) -> Received {
        let button = &request["reply_markup"]["inline_keyboard"][0][0];
        let received = Received {
            message_id: i64::try_from(self.history.len()).unwrap_or(i64::MAX).saturating_add(1),
            chat_id,
            text: request["text"].as_str().unwrap_or_default().to_owned(),
            button: button["text"].as_str().zip(button["url"].as_str()).map(|(text, url)| (text.into(), url.into())),
            at: now,
            request: request.clone(),
        };
        self.history.push(received.clone());
        received
    }
}

/// A number, or a number as text: the API takes both.
fn chat_id(request: &Value) -> Option<i64> {
    let id = &request["chat_id"];
    id.as_i64().or_else(|| id.as_str()?.parse().ok())
}

/// What the API would say against the request itself.
fn complaint(chat_id: Option<i64>, request: &Value) -> Result<i64, Refusal> {
    let bad = |text: String| Refusal { description: format!("Bad Request: {text}").into(), ..Refusal::new(400, "") };
    let Some(chat_id) = chat_id.filter(|id| *id != 0) else {
        return Err(bad("chat_id is empty".to_owned()));
    };
    let text = request["text"].as_str().unwrap_or_default();
    let visible = match request["parse_mode"].as_str() {
        Some("HTML") => markup::visible(text).map_err(|why| bad(format!("can't parse entities: {why}")))?,
        _ => text.to_owned(),
    };
    if visible.trim().is_empty() {
        return Err(bad("message text is empty".to_owned()));
    }
    if visible.chars().count() > MAX_CHARACTERS {
        return Err(bad("message is too long".to_owned()));
    }
    let link = &request["reply_markup"]["inline_keyboard"][0][0]["url"];
    let is_link = |link: &str| ["http://", "https://", "tg://"].iter().any(|scheme| link.starts_with(scheme));
    if link.as_str().is_some_and(|link| !is_link(link)) {
        return Err(bad("BUTTON_URL_INVALID".to_owned()));
    }
    Ok(chat_id)
}
