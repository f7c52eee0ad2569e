//! SIGTERM and SIGINT: the first ends the budget, so that the batch in hand is finished and no other begun; a second
//! one ends the program at once. What was not committed then, the database takes back.

use perennial_core::time::Deadline;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// How far the operator has gone in asking the program to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    #[default]
    Nothing,
    /// Stop at the next safe place.
    ToStop,
    /// Stop now; the signal's number.
    ToQuit(u8),
}

/// What was asked so far; clones see the same.
#[derive(Debug, Clone)]
pub(crate) struct Signals(watch::Receiver<Asked>);

impl Signals {
    /// Listens from now on, as a task of the current runtime.
    ///
    /// # Errors
    /// The operating system refuses to deliver signals.
    pub(crate) fn listen(deadline: Deadline) -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let (asked, seen) = watch::channel(Asked::Nothing);
        drop(tokio::spawn(relay(terminate, interrupt, deadline, asked)));
        Ok(Self(seen))
    }

    /// Comes back once a signal has asked to stop.
    pub(crate) async fn stop_asked(&mut self) {
        self.reached(|asked| *asked != Asked::Nothing).await;
    }

    /// Comes back once a second signal has come, with its number.
    pub(crate) async fn quit_asked(&mut self) -> u8 {
        match self.reached(|asked| matches!(asked, Asked::ToQuit(_))).await {
            Asked::ToQuit(signal) => signal,
            Asked::Nothing | Asked::ToStop => SIGTERM,
        }
    }

    async fn reached(&mut self, is_reached: impl FnMut(&Asked) -> bool) -> Asked {
        match self.0.wait_for(is_reached).await {
            Ok(asked) => *asked,
            // The listening task is gone: nothing more will be asked.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn relay(mut terminate: Signal, mut interrupt: Signal, deadline: Deadline, asked: watch::Sender<Asked>) {
    next(&mut terminate, &mut interrupt).await;
    log::info!("asked to stop: finishing the batch in hand; a second signal stops at once");
    deadline.stop();
    asked.send_replace(Asked::ToStop);
    let signal = next(&mut terminate, &mut interrupt).await;
    asked.send_replace(Asked::ToQuit(signal));
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> u8 {
    tokio::select! {
        _ = terminate.recv() => SIGTERM,
        _ = interrupt.recv() => SIGINT,
    }
}
