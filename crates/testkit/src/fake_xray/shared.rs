//! What the handle of a fake and its server share, and how a call runs into a fault.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tonic::{Code, Response, Status};

use super::calls::Call;
use super::faults::{Fault, Faults};
use super::gate::Cut;
use super::state::{State, Trouble};

/// What the server's thread is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Serve.
    Serve,
    /// Break all connections, then serve on.
    Disconnect,
    /// End at once, as a process that dies.
    End,
}

/// State, faults and log of one fake.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    calls: Mutex<Vec<Call>>,
    orders: watch::Sender<Order>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked while it held the lock has failed already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        let (orders, _) = watch::channel(Order::Serve);
        Self(Arc::new(Inner { state: Mutex::new(state), faults: Mutex::default(), calls: Mutex::default(), orders }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.0.faults)
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        lock(&self.0.calls)
    }

    pub(super) fn order(&self, order: Order) {
        self.0.orders.send_replace(order);
    }

    /// Says that an order to disconnect has been carried out; one to end that came meanwhile stands.
    pub(super) fn disconnected(&self) {
        self.0.orders.send_if_modified(|order| {
            let was_told = *order == Order::Disconnect;
            if was_told {
                *order = Order::Serve;
            }
            was_told
        });
    }

    pub(super) fn orders(&self) -> watch::Receiver<Order> {
        self.0.orders.subscribe()
    }

    /// Logs a call, carries it out and answers it, as far as no fault befalls it.
    pub(super) async fn perform<T: Default + Send + 'static>(
        &self,
        call: Call,
        apply: impl FnOnce(&mut State) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        self.perform_and(call, apply, |_, _| ()).await
    }

    /// As [`Self::perform`]; `alter` may change the answer of a call that a fault befalls.
    pub(super) async fn perform_and<T: Default + Send + 'static>(
        &self,
        call: Call,
        apply: impl FnOnce(&mut State) -> Result<T, Trouble> + Send + 'static,
        alter: impl FnOnce(&mut T, &Fault),
    ) -> Result<Response<T>, Status> {
        let fault = self.faults().befalling(&call);
        self.calls().push(call);
        let Some(fault) = fault else { return self.apply(apply).await.map(Response::new) };
        match fault.clone() {
            Fault::RequestLost => pending().await,
            Fault::AnswerLost => {
                // Whether it worked is what the client never learns.
                let _lost = self.apply(apply).await;
                pending().await
            }
            Fault::Late(time) => {
                let shared = self.clone();
                // On its own: the call itself ends with the client's patience.
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    // As above.
                    let _lost = shared.apply(apply).await;
                });
                pending().await
            }
            Fault::Slow(time) => {
                tokio::time::sleep(time).await;
                self.apply(apply).await.map(Response::new)
            }
            Fault::Refuse(code, text) => Err(Status::new(code, text)),
            Fault::Lie => Ok(Response::new(T::default())),
            Fault::Reset => Ok(cut(T::default(), Cut::Reset(0))),
            Fault::ResetAfter => Ok(cut(self.apply(apply).await?, Cut::Reset(0))),
            Fault::Disconnect => self.stop(Order::Disconnect).await,
            Fault::DisconnectAfter => {
                // As above.
                let _lost = self.apply(apply).await;
                self.stop(Order::Disconnect).await
            }
            Fault::Crash => self.stop(Order::End).await,
            Fault::CutAfter(bytes) => Ok(cut(self.apply(apply).await?, Cut::Reset(bytes))),
            Fault::EndAfter(bytes) => Ok(cut(self.apply(apply).await?, Cut::End(bytes))),
            Fault::ShortList(_) | Fault::DoubledList => {
                let mut answer = self.apply(apply).await?;
                alter(&mut answer, &fault);
                Ok(Response::new(answer))
            }
        }
    }

    async fn apply<T: Send>(&self, apply: impl FnOnce(&mut State) -> Result<T, Trouble>) -> Result<T, Status> {
        let outcome = apply(&mut self.state());
        match outcome {
            Ok(answer) => Ok(answer),
            Err(Trouble::Refused(text)) => Err(Status::new(Code::Unknown, text)),
            Err(Trouble::NoSuchName(name)) => Err(Status::not_found(format!("{name} not found."))),
            Err(Trouble::Dies) => self.stop(Order::End).await,
        }
    }

    /// Has the server's thread break all connections, this one with them.
    async fn stop<T>(&self, order: Order) -> T {
        self.order(order);
        pending().await
    }
}

fn cut<T>(answer: T, cut: Cut) -> Response<T> {
    let mut response = Response::new(answer);
    response.extensions_mut().insert(cut);
    response
}
