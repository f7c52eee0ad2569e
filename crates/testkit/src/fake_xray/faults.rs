//! What a test may make go wrong, and in which call.

use std::time::Duration;

use tonic::Code;

use super::calls::{Call, Kind};

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is executed, and no answer comes.
    RequestLost,
    /// It is executed, and no answer comes.
    AnswerLost,
    /// It is executed after this time, whether or not the client still waits, and no answer comes.
    Late(Duration),
    /// It is executed and answered after this time, if the client still waits.
    Slow(Duration),
    /// Nothing is executed; the answer is this code and text.
    Refuse(Code, String),
    /// Nothing is executed; the answer says OK.
    Lie,
    /// Nothing is executed; the stream of this call is reset.
    Reset,
    /// It is executed; the stream of this call is reset before the answer.
    ResetAfter,
    /// Nothing is executed; all connections break. The server goes on and takes new ones.
    Disconnect,
    /// It is executed; all connections break before the answer.
    DisconnectAfter,
    /// The server process ends, see [`FakeXray::crash`](super::FakeXray::crash).
    Crash,
    /// A list has at most so many users, and nothing shows that there are more.
    ShortList(usize),
    /// A list has everybody twice, which no server's has.
    DoubledList,
    /// After so many bytes of the answer its stream is reset.
    CutAfter(usize),
    /// After so many bytes the answer ends as if it were whole.
    EndAfter(usize),
}

/// Which calls a fault befalls: [`When::on`] a kind, narrowed down. By default all of them, until
/// [`FakeXray::clear_faults`](super::FakeXray::clear_faults).
#[derive(Debug, Clone)]
pub struct When {
    kind: Option<Kind>,
    email: Option<String>,
    /// How many matching calls pass unharmed first.
    spared: usize,
    /// How many are befallen after that.
    times: usize,
}

impl When {
    /// Any call.
    #[must_use]
    pub fn any() -> Self {
        Self { kind: None, email: None, spared: 0, times: usize::MAX }
    }

    /// Calls of a kind.
    #[must_use]
    pub fn on(kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::any() }
    }

    /// Only those about this e-mail.
    #[must_use]
    pub fn about(self, email: &str) -> Self {
        Self { email: Some(email.to_owned()), ..self }
    }

    /// Only the first.
    #[must_use]
    pub fn once(self) -> Self {
        Self { times: 1, ..self }
    }

    /// Only the `n`-th from now, counted from 1.
    #[must_use]
    pub fn nth(self, n: usize) -> Self {
        Self { spared: n.saturating_sub(1), times: 1, ..self }
    }

    /// Only the first `n` of them.
    #[must_use]
    pub fn times(self, n: usize) -> Self {
        Self { times: n, ..self }
    }

    fn matches(&self, call: &Call) -> bool {
        self.kind.is_none_or(|kind| kind == call.kind) && self.email.as_ref().is_none_or(|email| *email == call.email)
    }
}

/// All faults in force. The first that befalls a call is the one.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(When, Fault)>);

impl Faults {
    pub(super) fn push(&mut self, when: When, fault: Fault) {
        self.0.push((when, fault));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault of a call, which is counted by all it matches until one befalls it.
    pub(super) fn befalling(&mut self, call: &Call) -> Option<Fault> {
        for (when, fault) in self.0.iter_mut().filter(|(when, _)| when.matches(call)) {
            if when.spared > 0 {
                when.spared -= 1;
            } else if when.times > 0 {
                when.times -= 1;
                return Some(fault.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(kind: Kind, email: &str) -> Call {
        Call { kind, tag: "vless-in".to_owned(), email: email.to_owned() }
    }

    #[test]
    fn a_fault_befalls_the_calls_it_is_meant_for() {
        let mut faults = Faults::default();
        faults.push(When::on(Kind::Remove).nth(2), Fault::Lie);
        faults.push(When::on(Kind::Add).about("p.1"), Fault::Reset);
        let befallen = [
            call(Kind::Remove, "p.1"),
            call(Kind::Add, "p.2"),
            call(Kind::Remove, "p.2"),
            call(Kind::Remove, "p.3"),
            call(Kind::Add, "p.1"),
        ]
        .map(|call| faults.befalling(&call));
        assert_eq!(befallen, [None, None, Some(Fault::Lie), None, Some(Fault::Reset)]);
    }
}
