//! What an answer means, by its status and its body.

use std::time::Duration;

use perennial_core::ports::MessengerError;
use reqwest::Response;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;
use tokio::time::timeout;

use crate::MAX_ANSWER_BYTES;
use crate::failure;
use crate::token::Token;

/// Waited after a 429 that does not say how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// Telegram never asks for longer; a number beyond it is a slip somewhere, and no reason to be silent for years.
const MAX_WAIT_SECONDS: u64 = 24 * 60 * 60;

/// Parts of the API's texts for a chat that cannot be written to, sent with 400 instead of 403.
const CHAT_IS_CLOSED: [&str; 12] = [
    "chat not found",
    "user not found",
    "group chat was deactivated",
    "group chat was upgraded",
    "not enough rights",
    "no rights to send",
    "need administrator rights",
    "peer_id_invalid",
    "chat_write_forbidden",
    "chat_restricted",
    "topic_closed",
    "user_is_blocked",
];

/// An answer as it came in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    retry_after: Option<String>,
    /// What can be read of it; or why nothing can.
    body: Result<Vec<u8>, String>,
}

impl Answer {
    /// Reads an answer, up to [`MAX_ANSWER_BYTES`] of its body, waiting for `part_limit` at most for each part.
    pub(crate) async fn read(mut response: Response, part_limit: Duration, token: &Token) -> Self {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        let body = loop {
            match timeout(part_limit, response.chunk()).await {
                Ok(Ok(Some(chunk))) if body.len() < MAX_ANSWER_BYTES => body.extend_from_slice(&chunk),
                Ok(Ok(_)) => break Ok(body),
                Ok(Err(error)) => break Err(token.mask(&failure::words(error))),
                Err(_) => break Err("no more of it in time".to_owned()),
            }
        };
        Self { status, retry_after, body }
    }

    /// The id of the message, or why there is none.
    pub(crate) fn meaning(&self, token: &Token) -> Result<i64, MessengerError> {
        let body = match &self.body {
            Ok(body) => serde_json::from_slice::<Value>(body).unwrap_or_default(),
            Err(_) => Value::Null,
        };
        match body["ok"].as_bool() {
            Some(true) => self.sent(&body),
            Some(false) => Err(self.refused(&body, token)),
            None => Err(self.not_of_the_api()),
        }
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn sent(&self, body: &Value) -> Result<i64, MessengerError> {
        match body["result"]["message_id"].as_i64() {
            Some(id) if self.is_success() => Ok(id),
            Some(_) => Err(unknown(format!("HTTP {} that says it was sent", self.status))),
            None => Err(unknown("sent, it says, but without a message id".to_owned())),
        }
    }

    fn refused(&self, body: &Value, token: &Token) -> MessengerError {
        let code = body["error_code"].as_u64().unwrap_or(self.status.into());
        let reason = token.mask(body["description"].as_str().unwrap_or("no description"));
        let parameters = &body["parameters"];
        match code {
            400 => match whole(&parameters["migrate_to_chat_id"]) {
                Some(to) => MessengerError::ChatMoved { to },
                None if is_chat_closed(&reason) => MessengerError::Unreachable { reason },
                None => MessengerError::Refused { reason },
            },
            401 | 404 => MessengerError::Unauthorised { reason },
            403 => MessengerError::Unreachable { reason },
            429 => self.throttled(whole(&parameters["retry_after"])),
            // Another instance's conflict and a request that came in too slowly are gone next time.
            408 | 409 => MessengerError::Transient { reason },
            402..500 => MessengerError::Refused { reason },
            _ => MessengerError::Transient { reason: format!("HTTP {}: {reason}", self.status) },
        }
    }

    /// Somebody else answered: a gateway, a proxy, another server. Or it broke off.
    fn not_of_the_api(&self) -> MessengerError {
        let status = self.status;
        let what = match &self.body {
            Ok(body) => format!("HTTP {status} with {} bytes that are not the Bot API's", body.len()),
            Err(why) => format!("HTTP {status}, then it broke off: {why}"),
        };
        match status {
            429 => self.throttled(None),
            // A gateway that waited in vain passed the request on.
            504 => unknown(what),
            _ if self.is_success() => unknown(what),
            _ => MessengerError::Transient { reason: what },
        }
    }

    fn throttled(&self, in_body: Option<i64>) -> MessengerError {
        let in_header = self.retry_after.as_deref().and_then(|value| value.trim().parse().ok());
        let seconds = in_body.and_then(|seconds| u64::try_from(seconds).ok()).max(in_header);
        let wait = seconds.map(|seconds| Duration::from_secs(seconds.clamp(1, MAX_WAIT_SECONDS)));
        MessengerError::Throttled { wait: wait.unwrap_or(DEFAULT_WAIT) }
    }
}

fn unknown(reason: String) -> MessengerError {
    MessengerError::Unknown { reason }
}

fn is_chat_closed(description: &str) -> bool {
    let description = description.to_ascii_lowercase();
    CHAT_IS_CLOSED.iter().any(|part| description.contains(part))
}

/// A whole number, or one written as text.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// What an answer means, for fuzz targets.
///
/// # Errors
/// The meaning, where it is none of "sent".
#[cfg(feature = "fuzzing")]
pub fn meaning(status: u16, retry_after: Option<&str>, body: &[u8]) -> Result<i64, MessengerError> {
    let answer = Answer { status, retry_after: retry_after.map(str::to_owned), body: Ok(body.to_vec()) };
    match Token::new(&"1:fuzzed".into()) {
        Ok(token) => answer.meaning(&token),
        Err(_) => Err(unknown(String::new())),
    }
}

#[cfg(test)]
mod tests;
