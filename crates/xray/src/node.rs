//! One server: its connection, its limits, and the way every call takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use perennial_core::ports::{InboundTag, XrayError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{timeout, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

use crate::address::Address;
use crate::connection::{self, Connection, Dialer};
use crate::failure::Failure;
use crate::refusal::{self, Refusal, shown};
use crate::request;
use crate::settings::NodeSettings;
use crate::wire::handler::handler_service_client::HandlerServiceClient;
use crate::wire::stats::stats_service_client::StatsServiceClient;

/// One, and a new one where that turns out to have ended before the request left.
const CONNECTIONS_TRIED: usize = 2;

/// The protocol of the inbounds we write to, as the server's texts name it.
const PROTOCOL: &str = "vless";

/// A client of one Xray server, to be shared by all who call it.
///
/// It connects at the first call and again after a connection broke. Calls run side by side on one connection, at most
/// [`NodeSettings::max_in_flight`] of them. A call waits at most the call timeout for its turn, the connect timeout for
/// a connection and its own timeout for its answer; whoever drops the future of a call cancels it.
#[derive(Debug)]
pub struct XrayNode {
    pub(crate) settings: NodeSettings,
    dialer: Dialer,
    turns: Semaphore,
    live: Mutex<Option<Arc<Connection>>>,
    /// Whether anything at its address has ever answered as a gRPC server does.
    has_answered: AtomicBool,
    /// One dials, the others wait for the outcome.
    dialing: tokio::sync::Mutex<Option<FailedDial>>,
}

#[derive(Debug)]
struct FailedDial {
    ended_at: Instant,
    reason: String,
}

impl XrayNode {
    /// A client with these settings. It reads the CA file, but connects only at the first call.
    ///
    /// # Errors
    /// [`XrayError::Misconfigured`]: the address is none, or the CA file cannot be read or is of no use.
    pub fn connect(settings: NodeSettings) -> Result<Self, XrayError> {
        let dialer = Address::parse(&settings.address)
            .and_then(|address| Dialer::new(address, settings.ca_file.as_deref()))
            .map_err(|reason| XrayError::Misconfigured { node: settings.name.clone(), reason })?;
        let turns = Semaphore::new(settings.max_in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let (live, dialing) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { settings, dialer, turns, live, has_answered: AtomicBool::new(false), dialing })
    }

    /// Its name in errors, logs and the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Runs an exchange on a live connection when it is its turn.
    pub(crate) async fn on_connection<T>(
        &self,
        exchange: impl AsyncFn(&Arc<Connection>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _turn = self.turn().await?;
        for _ in 1..CONNECTIONS_TRIED {
            match exchange(&self.connection().await?).await {
                // Nothing left, so there is no harm in another try.
                Err(Failure::NotSent(_)) => {}
                outcome => return outcome,
            }
        }
        exchange(&self.connection().await?).await
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let limit = self.settings.call_timeout;
        match timeout(limit, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // It is never closed.
            Ok(Err(closed)) => Err(Failure::NotSent(closed.to_string())),
            Err(_) => {
                let in_flight = self.settings.max_in_flight;
                Err(Failure::NotSent(format!("not sent: none of {in_flight} earlier calls ended within {limit:?}")))
            }
        }
    }

    async fn connection(&self) -> Result<Arc<Connection>, Failure> {
        if let Some(live) = self.live() {
            return Ok(live);
        }
        let arrived = Instant::now();
        let mut failed = self.dialing.lock().await;
        if let Some(live) = self.live() {
            return Ok(live);
        }
        // Whoever has waited for an attempt shares its outcome: a dead node costs one timeout, not one a call.
        if let Some(failed) = failed.as_ref().filter(|failed| failed.ended_at >= arrived) {
            return Err(Failure::NotSent(failed.reason.clone()));
        }
        match self.dial().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *self.lock_live() = Some(Arc::clone(&connection));
                *failed = None;
                Ok(connection)
            }
            Err(reason) => {
                *failed = Some(FailedDial { ended_at: Instant::now(), reason: reason.clone() });
                Err(Failure::NotSent(reason))
            }
        }
    }

    async fn dial(&self) -> Result<Connection, String> {
        let limit = self.settings.connect_timeout;
        let address = &self.settings.address;
        let outcome = timeout(limit, self.dialer.dial()).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no connection within {limit:?}")));
        outcome.map_err(|reason| format!("{address}: {reason}"))
    }

    fn live(&self) -> Option<Arc<Connection>> {
        self.lock_live().clone()
    }

    fn lock_live(&self) -> std::sync::MutexGuard<'_, Option<Arc<Connection>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call makes a new connection. Calls under way on this one go on.
    fn forget(&self, connection: &Arc<Connection>) {
        let mut live = self.lock_live();
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(live, connection)) {
            *live = None;
        }
    }

    /// Waits for the answer to a request, until `deadline`.
    pub(crate) async fn answer<T>(
        &self,
        connection: &Arc<Connection>,
        deadline: Instant,
        request: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Failure> {
        match timeout_at(deadline.into(), request).await {
            Ok(Ok(answer)) => {
                self.has_answered.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(status)) if connection::was_not_sent(&status) => {
                self.forget(connection);
                let reason = connection::cause_of(&status);
                Err(Failure::NotSent(self.doubt().map_or_else(|| reason.clone(), |doubt| format!("{reason}; {doubt}"))))
            }
            Ok(Err(status)) if connection::is_of_transport(&status) => {
                Err(self.broken(connection, shown(&connection::cause_of(&status))))
            }
            Ok(Err(status)) => {
                self.has_answered.store(true, Ordering::Relaxed);
                Err(Failure::Refused(status))
            }
            // A server that is slow keeps its other calls; one that is gone without a word needs a new connection.
            Err(_) => Err(self.broken(connection, "none within the call's timeout".to_owned())),
        }
    }

    fn broken(&self, connection: &Arc<Connection>, reason: String) -> Failure {
        self.forget(connection);
        match self.doubt() {
            None => Failure::NoAnswer(reason),
            Some(doubt) => Failure::NeverAnswered(format!("{reason}; {doubt}")),
        }
    }

    /// What to think of an address where nothing has ever answered.
    fn doubt(&self) -> Option<String> {
        let address = &self.settings.address;
        let doubt = || {
            format!("nothing at {address} has answered as Xray's API does: is this its port, and http or https right?")
        };
        (!self.has_answered.load(Ordering::Relaxed)).then(doubt)
    }

    /// Makes sure that an inbound is VLESS: an account of another protocol ends the whole server process.
    ///
    /// The refusal of a removal without an e-mail says so, in every version, and changes nothing. The listings would
    /// tell less: that of inbounds holds every configured user and is missing before v25.6.8, that of users says
    /// nothing while there are none. Remembered as long as the connection lives, since another one may lead to a server
    /// started anew with other settings.
    pub(crate) async fn check_vless(
        &self,
        connection: &Arc<Connection>,
        inbound: &InboundTag,
        deadline: Instant,
    ) -> Result<(), Failure> {
        if connection.is_vless(inbound) {
            return Ok(());
        }
        let mut handler = self.handler(connection);
        let question = handler.alter_inbound(request::question_of_protocol(inbound));
        let status = match self.answer(connection, deadline, question).await {
            Ok(_) => return Err(Failure::Misconfigured(format!("{inbound:?} takes a removal of nobody: no Xray"))),
            Err(Failure::Refused(status)) => status,
            Err(Failure::NoAnswer(reason) | Failure::NeverAnswered(reason)) => {
                return Err(Failure::Unasked(format!(
                    "no answer to the question for the inbound's protocol: {reason}"
                )));
            }
            Err(other) => return Err(other),
        };
        match refusal::read(&status, "") {
            Refusal::EmptyEmail { protocol } if protocol == PROTOCOL => {
                connection.note_vless(inbound);
                Ok(())
            }
            Refusal::NoAnswer(reason) => Err(Failure::Unasked(reason)),
            _ => Err(Failure::Refused(status)),
        }
    }

    pub(crate) fn handler(&self, connection: &Connection) -> HandlerServiceClient<Channel> {
        HandlerServiceClient::new(connection.channel()).max_decoding_message_size(self.settings.max_list_bytes)
    }

    pub(crate) fn stats(&self, connection: &Connection) -> StatsServiceClient<Channel> {
        StatsServiceClient::new(connection.channel()).max_decoding_message_size(self.settings.max_list_bytes)
    }

    pub(crate) fn call_deadline(&self) -> Instant {
        after(self.settings.call_timeout)
    }

    pub(crate) fn list_deadline(&self) -> Instant {
        after(self.settings.list_timeout)
    }
}

fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    // A timeout beyond what the clock can count is as good as a year.
    now.checked_add(limit).unwrap_or(now + Duration::from_secs(365 * 86_400))
}
