//! As much of HTTP/1.1 as the server needs: requests with a length, answers with a length.

use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};

use super::fault::{Refusal, ToldWhere};
use super::state::Received;

/// Longer heads and bodies are no client of ours.
const MAX_BYTES: u64 = 1 << 20;

/// The real server tells seconds since 1970; this one has no clock of its own.
const EPOCH_SECONDS: u64 = 1_800_000_000;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Value,
    pub(super) is_last: bool,
}

/// The next request of a connection; none when the client closed it.
pub(super) async fn read<R: AsyncBufRead + AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Request>> {
    let mut head = reader.take(MAX_BYTES);
    let mut line = String::new();
    if head.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let path = path_of(words.next().unwrap_or_default()).to_owned();
    let (mut length, mut is_last) = (0, false);
    loop {
        let mut line = String::new();
        if head.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => length = value.parse().map_err(io::Error::other)?,
            ("connection", value) => is_last = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    reader.take(MAX_BYTES.min(length)).read_to_end(&mut body).await?;
    Ok(Some(Request { method, path, body: serde_json::from_slice(&body).unwrap_or_default(), is_last }))
}

/// The path of a target; a proxy gets the whole address.
fn path_of(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://") else {
        return target;
    };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

/// Token and method of `/bot<token>/<method>`.
pub(super) fn call(path: &str) -> Option<(&str, &str)> {
    let path = path.split('?').next().unwrap_or_default();
    path.strip_prefix("/bot")?.split_once('/').filter(|(token, _)| !token.is_empty())
}

/// A whole answer.
pub(super) struct Answer {
    status: u16,
    content_type: &'static str,
    retry_after: Option<u32>,
    body: String,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json", retry_after: None, body: body.to_string() }
    }

    pub(super) fn sent(received: &Received) -> Self {
        let kind = if received.chat_id < 0 { "supergroup" } else { "private" };
        Self::json(
            200,
            &json!({ "ok": true, "result": {
                "message_id": received.message_id,
                "from": { "id": 123_456_789, "is_bot": true, "first_name": "Fake" },
                "chat": { "id": received.chat_id, "type": kind },
                "date": EPOCH_SECONDS + received.at.as_secs(),
                "text": received.text,
            } }),
        )
    }

    pub(super) fn without_message_id() -> Self {
        Self::json(200, &json!({ "ok": true, "result": true }))
    }

    pub(super) fn garbage() -> Self {
        Self { body: "\u{1}{not JSON".to_owned(), ..Self::json(200, &Value::Null) }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        let mut body = json!({ "ok": false, "error_code": refusal.code, "description": refusal.description });
        if let Some(to) = refusal.migrate_to {
            body["parameters"] = json!({ "migrate_to_chat_id": to });
        }
        Self::json(refusal.code, &body)
    }

    pub(super) fn throttled(seconds: u32, told: ToldWhere) -> Self {
        let mut body = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests" });
        if matches!(told, ToldWhere::Both | ToldWhere::Body) {
            body["description"] = json!(format!("Too Many Requests: retry after {seconds}"));
            body["parameters"] = json!({ "retry_after": seconds });
        }
        let retry_after = matches!(told, ToldWhere::Both | ToldWhere::Header).then_some(seconds);
        Self { retry_after, ..Self::json(429, &body) }
    }

    /// What a web server in front says; many of them repeat the path, and with it the token.
    pub(super) fn page(status: u16, path: &str) -> Self {
        let body = format!(
            "<html>\n<head><title>{status}</title></head>\n<body><h1>{status}</h1>\
             <p>The requested URL {path} could not be served.</p></body>\n</html>\n"
        );
        Self { status, content_type: "text/html", retry_after: None, body }
    }

    /// The bytes of head and body.
    pub(super) fn into_bytes(self) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!(
            "HTTP/1.1 {} Fake\r\nServer: fake\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: keep-alive\r\n",
            self.status,
            self.content_type,
            self.body.len()
        );
        if let Some(seconds) = self.retry_after {
            // Writing to a string cannot fail.
            let _infallible = write!(head, "Retry-After: {seconds}\r\n");
        }
        if (300..400).contains(&self.status) {
            head.push_str("Location: /elsewhere\r\n");
        }
        head.push_str("\r\n");
        (head.into_bytes(), self.body.into_bytes())
    }
}
