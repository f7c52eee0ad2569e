//! The call for all users of an inbound: one answer of up to hundreds of megabytes, read while it arrives.
//!
//! tonic's own client gathers a whole answer before it hands it over. Here the channel's HTTP/2 answer is read piece by
//! piece instead, so a list costs what the users in it cost, not its bytes on top. A list counts only when the message
//! is complete and the server's closing status says so.

mod records;

use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost::bytes::{BufMut as _, BytesMut};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use perennial_core::ports::{InboundTag, UserList};

use crate::refusal::shown;
use crate::wire::handler::GetInboundUserRequest;
use records::{Records, Unreadable};

const PATH: &str = "/xray.app.proxyman.command.HandlerService/GetInboundUsers";
/// Before each message: whether it is compressed, and its length in four bytes.
const HEAD_BYTES: usize = 5;

/// Why there is no list.
#[derive(Debug)]
pub(crate) enum NoList {
    /// The server's word, or the transport's.
    Status(Status),
    /// What came is not a list of VLESS users that fits.
    Misconfigured(String),
    /// What came makes no sense or broke off.
    Broken(String),
}

impl From<Status> for NoList {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<Unreadable> for NoList {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Malformed => Self::Broken("the list is malformed or broke off".to_owned()),
            Unreadable::NotVless(name) => {
                Self::Misconfigured(format!("its users are no VLESS users but {:?}", shown(&name)))
            }
            Unreadable::TooMany => Self::Misconfigured("the list is longer than this program can hold".to_owned()),
        }
    }
}

/// Asks for all users of an inbound. Takes no answer above `bytes_max`.
pub(crate) async fn list_users(channel: Channel, inbound: &InboundTag, bytes_max: usize) -> Result<UserList, NoList> {
    let response = channel.oneshot(request(inbound)).await.map_err(|error| Status::from_error(error.into()))?;
    if response.status() != StatusCode::OK {
        return Err(NoList::Broken(format!("it answers HTTP {}", response.status())));
    }
    let (head, mut body) = response.into_parts();
    let mut answer = Answer::new(bytes_max);
    let mut trailers = head.headers;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(bytes) => answer.take(&bytes)?,
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    check_closing_status(&trailers)?;
    answer.finish()
}

fn request(inbound: &InboundTag) -> Request<Body> {
    let message = GetInboundUserRequest { tag: inbound.0.clone(), email: String::new() };
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    // Cannot fail: the buffer grows.
    let _has_room = message.encode(&mut bytes);
    let mut request = Request::new(Body::new(Full::new(bytes.freeze())));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(PATH);
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request
}

fn check_closing_status(trailers: &HeaderMap) -> Result<(), NoList> {
    match Status::from_header_map(trailers) {
        Some(status) if status.code() == Code::Ok => Ok(()),
        Some(status) => Err(status.into()),
        None => Err(NoList::Broken("the list broke off before its closing status".to_owned())),
    }
}

/// A user listed twice, perhaps with two secrets, could be judged by either. Such a list says nothing about anybody.
fn whole(list: UserList) -> Result<UserList, NoList> {
    match list.doubled() {
        Some(email) => Err(NoList::Broken(format!("its list has {} twice", shown(email)))),
        None => Ok(list),
    }
}

/// The one message of the answer.
struct Answer {
    bytes_max: usize,
    head: Vec<u8>,
    /// Of the message, once its head is there.
    bytes_left: Option<usize>,
    records: Records,
}

impl Answer {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, head: Vec::with_capacity(HEAD_BYTES), bytes_left: None, records: Records::default() }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), NoList> {
        if self.bytes_left.is_none() {
            let of_head = bytes.len().min(HEAD_BYTES - self.head.len());
            self.head.extend_from_slice(&bytes[..of_head]);
            if self.head.len() < HEAD_BYTES {
                return Ok(());
            }
            self.bytes_left = Some(self.length()?);
            bytes = &bytes[of_head..];
        }
        let left = self.bytes_left.unwrap_or(0);
        self.bytes_left = Some(left.checked_sub(bytes.len()).ok_or_else(|| Self::senseless("two answers"))?);
        Ok(self.records.take(bytes)?)
    }

    fn length(&self) -> Result<usize, NoList> {
        let [0, length @ ..] = self.head.as_slice() else { return Err(Self::senseless("a compressed answer")) };
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        if length > self.bytes_max {
            let max = self.bytes_max;
            return Err(NoList::Misconfigured(format!("its list has {length} bytes, max_list_bytes is {max}")));
        }
        Ok(length)
    }

    fn senseless(what: &str) -> NoList {
        NoList::Broken(format!("it sent {what}, where one plain one was asked for"))
    }

    fn finish(self) -> Result<UserList, NoList> {
        match self.bytes_left {
            Some(0) => whole(self.records.finish()?.finish()),
            _ => Err(NoList::Broken("the list broke off".to_owned())),
        }
    }
}

/// The reading of answers, for fuzz targets.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use perennial_core::ports::UserList;

    /// Reads an answer that comes in pieces of so many bytes; none when it is no list.
    #[must_use]
    pub fn list(answer: &[u8], piece: usize) -> Option<UserList> {
        let mut answer_read = super::Answer::new(1 << 20);
        for part in answer.chunks(piece.max(1)) {
            answer_read.take(part).ok()?;
        }
        answer_read.finish().ok()
    }

    /// The words of a refusal, as they are shown.
    #[must_use]
    pub fn shown(text: &str) -> String {
        super::shown(text)
    }
}
