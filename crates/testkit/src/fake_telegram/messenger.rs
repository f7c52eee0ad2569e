//! The same server without a network: a [`Messenger`] for simulations.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perennial_core::ports::{Message, Messenger, MessengerError};
use serde_json::json;

use super::fault::{Fault, Refusal, ToldWhere};
use super::limits::Limits;
use super::state::{Reply, State};
use super::{Shared, TOKEN, lock};

/// How long a client waits that was not told: the real client's own number does not matter here.
const UNTOLD_WAIT: Duration = Duration::from_secs(5);

/// A messenger with state, limits, a call log and scripted faults. Clones share them, as two processes share a server.
#[derive(Clone)]
pub struct FakeMessenger {
    pub(super) state: Shared,
    now: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl fmt::Debug for FakeMessenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeMessenger").finish_non_exhaustive()
    }
}

impl FakeMessenger {
    /// A messenger with these limits; `now` is the time since some fixed moment and never goes back.
    pub fn new(limits: Limits, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(limits))), now: Arc::new(now) }
    }
}

impl Messenger for FakeMessenger {
    async fn send(&self, message: &Message) -> Result<i64, MessengerError> {
        let mut request = json!({ "chat_id": message.chat_id, "text": message.html, "parse_mode": "HTML" });
        if let Some(button) = &message.button {
            request["reply_markup"] = json!({ "inline_keyboard": [[{ "text": button.caption, "url": button.url }]] });
        }
        let reply = lock(&self.state).send_message((self.now)(), TOKEN, &request);
        match reply {
            Reply::Sent(received) => Ok(received.message_id),
            Reply::Refused(refusal) => Err(refused(&refusal)),
            Reply::TooFast { seconds } => Err(throttled(seconds)),
            Reply::Faulty(fault, received) => faulty(&fault, received.map(|received| received.message_id)),
        }
    }
}

fn throttled(seconds: u32) -> MessengerError {
    MessengerError::Throttled { wait: Duration::from_secs(seconds.into()) }
}

/// What the client makes of the API's refusals. A test runs the same faults through both.
fn refused(refusal: &Refusal) -> MessengerError {
    let reason = refusal.description.to_string();
    match (refusal.code, refusal.migrate_to) {
        (_, Some(to)) => MessengerError::ChatMoved { to },
        (401 | 404, _) => MessengerError::Unauthorised { reason },
        (403, _) => MessengerError::Unreachable { reason },
        (400, _) if reason.contains("chat not found") || reason.contains("rights") => {
            MessengerError::Unreachable { reason }
        }
        (500.., _) => MessengerError::Transient { reason },
        _ => MessengerError::Refused { reason },
    }
}

fn faulty(fault: &Fault, taken: Option<i64>) -> Result<i64, MessengerError> {
    match (fault, taken) {
        (Fault::Refuse(refusal), _) => Err(refused(refusal)),
        (Fault::Throttle { told: ToldWhere::Nowhere, .. } | Fault::Page(429), _) => {
            Err(MessengerError::Throttled { wait: UNTOLD_WAIT })
        }
        (Fault::Throttle { seconds, .. }, _) => Err(throttled(*seconds)),
        (Fault::Slow { .. }, Some(id)) => Ok(id),
        (Fault::Page(504), _) => Err(MessengerError::Unknown { reason: "a gateway gave up waiting".to_owned() }),
        (Fault::Page(status), _) => Err(MessengerError::Transient { reason: format!("a page, HTTP {status}") }),
        _ => Err(MessengerError::Unknown { reason: format!("{fault:?}") }),
    }
}
