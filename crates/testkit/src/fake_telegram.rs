//! A Telegram for tests and the demo: answers `sendMessage` as the Bot API's server does, keeps what it was sent, has
//! the server's limits, and fails as told.
//!
//! [`FakeTelegram`] listens on a TCP port of this machine and runs on a thread of its own, so neither the test's runtime
//! nor its paused clock is in its way. [`FakeMessenger`] is the same server without a network, with a clock that is
//! given to it: for simulations of hours in milliseconds.
//!
//! It also takes requests as an HTTP proxy gets them, so the same server tests a proxy setting.

mod fault;
mod http;
mod limits;
mod markup;
mod messenger;
mod server;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

pub use fault::{Fault, Refusal, ToldWhere};
pub use limits::Limits;
pub use messenger::FakeMessenger;
pub use state::Received;

use server::Server;
use state::State;

/// A token in the form that real ones have. Any token is taken until [`FakeTelegram::accept_only`].
pub const TOKEN: &str = "123456789:AAFakeFakeFakeFakeFakeFakeFakeFakeFa";

/// What was scripted and what came in, shared by the server and whoever looks.
type Shared = Arc<Mutex<State>>;

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked while it looked has changed nothing half.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running fake server. Dropping it closes the port and every connection.
pub struct FakeTelegram {
    server: Server,
    state: Shared,
}

impl fmt::Debug for FakeTelegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeTelegram").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl FakeTelegram {
    /// Starts a server with the documented limits on a free port.
    ///
    /// # Errors
    /// No port or no thread can be had.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Limits::DOCUMENTED)
    }

    /// Starts a server with other limits.
    ///
    /// # Errors
    /// No port or no thread can be had.
    pub fn start_with(limits: Limits) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::new(limits)));
        Ok(Self { server: Server::start(Arc::clone(&state))?, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The address to give a client as the Bot API's, or as an HTTP proxy's.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}", self.address())
    }

    /// How many connections were made: a client that pools makes one.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}

/// What can be scripted and seen; the same of the server and of the messenger without a network.
macro_rules! scripting {
    ($fake:ty) => {
        impl $fake {
            /// From now on every call of another token is answered 401.
            pub fn accept_only(&self, token: &str) {
                lock(&self.state).accepted_token = Some(token.to_owned());
            }

            /// Every message to this chat fails so, until [`Self::heal`].
            pub fn fail_chat(&self, chat_id: i64, fault: Fault) {
                lock(&self.state).by_chat.insert(chat_id, fault);
            }

            /// The `n`-th call from now on fails so; 1 is the next.
            pub fn fail_call(&self, n: u64, fault: Fault) {
                let mut state = lock(&self.state);
                let call = state.calls + n;
                state.by_call.insert(call, fault);
            }

            /// Every call fails so, until [`Self::heal`].
            pub fn fail_all(&self, fault: Fault) {
                lock(&self.state).for_all = Some(fault);
            }

            /// Forgets all faults and a wait that is under way; keeps what came in.
            pub fn heal(&self) {
                lock(&self.state).heal();
            }

            /// All messages, in the order in which they were taken.
            #[must_use]
            pub fn messages(&self) -> Vec<Received> {
                lock(&self.state).history.clone()
            }

            /// The messages of one chat.
            #[must_use]
            pub fn messages_of(&self, chat_id: i64) -> Vec<Received> {
                lock(&self.state).history.iter().filter(|message| message.chat_id == chat_id).cloned().collect()
            }

            /// How many calls came in, whatever became of them.
            #[must_use]
            pub fn calls(&self) -> u64 {
                lock(&self.state).calls
            }

            /// How many calls were answered 429 because the client was too fast or did not wait. A scripted 429 does
            /// not count, calls before its wait is over do.
            #[must_use]
            pub fn throttled(&self) -> u64 {
                lock(&self.state).throttled
            }
        }
    };
}
scripting!(FakeTelegram);
scripting!(FakeMessenger);
