//! The states, and every step that may be taken from one.

/// Credentials and rows at most.
pub(crate) const MANY: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Credential {
    Unborn,
    Open,
    Closing,
    Retired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Row {
    Unborn,
    /// Its credential, and whether it is past its end.
    Active(u8, bool),
    Expiring(u8),
    Expired,
}

/// A set of credentials.
pub(crate) type Set = u8;

/// Where a copy of `expire-fast` stands, with what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Expire {
    Idle,
    /// Only without the rule of the lock: rows to be ended and credentials found unused, decided on an old snapshot.
    Decided(Set),
    Ended,
    Listed(Set),
    Removed(Set),
    Asked(Set),
    Recorded(Set),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reconcile {
    Idle,
    Listed(Set),
    /// What is missing, what is final, what no row uses.
    Read(Set, Set, Set),
    Asked(Set, Set, Set),
    Added(Set, Set, Set),
    Restored(Set, Set),
    Retired(Set),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) credentials: [Credential; MANY],
    pub(crate) rows: [Row; MANY],
    pub(crate) on_node: Set,
    pub(crate) proofs: Set,
    /// The bot has committed and not yet added.
    pub(crate) bot_adds: Option<u8>,
    /// Requests under way that their senders have given up: they arrive whenever they like.
    pub(crate) late_adds: Set,
    pub(crate) late_removals: Set,
    pub(crate) expire: [Expire; 2],
    pub(crate) reconcile: Reconcile,
    pub(crate) operations_left: u8,
    pub(crate) ends_left: u8,
    pub(crate) faults_left: u8,
}

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Without {
    Nothing,
    /// A purchase may take a credential that is closing.
    OneWay,
    /// Closing looks for rows and locks the credential in one statement, on a snapshot older than its lock.
    LookAfterLock,
    /// The answer to a removal is believed.
    Proof,
    /// An unused credential is removed without being retired first.
    RetireFirst,
    /// Reconcile removes what no active row used when it read, whatever the credential's own state.
    StateDecides,
}

use Credential::{Closing, Open, Retired, Unborn};

pub(crate) fn bit(n: u8) -> Set {
    1 << n
}

pub(crate) fn members(set: Set) -> impl Iterator<Item = u8> {
    (0..u8::try_from(MANY).unwrap()).filter(move |n| set & bit(*n) != 0)
}

impl State {
    pub(crate) fn those(&self, wanted: impl Fn(Credential) -> bool) -> Set {
        (0..).zip(self.credentials).filter(|(_, c)| wanted(*c)).map(|(n, _)| bit(n)).sum()
    }

    pub(crate) fn used(&self, by: impl Fn(Row) -> Option<u8>) -> Set {
        self.rows.iter().filter_map(|row| by(*row)).fold(0, |set, n| set | bit(n))
    }

    pub(crate) fn by_active(&self) -> Set {
        self.used(|row| if let Row::Active(n, _) = row { Some(n) } else { None })
    }

    pub(crate) fn by_any(&self) -> Set {
        self.by_active() | self.used(|row| if let Row::Expiring(n) = row { Some(n) } else { None })
    }

    pub(crate) fn entitled(&self) -> Set {
        self.used(|row| if let Row::Active(n, false) = row { Some(n) } else { None })
    }

    pub(crate) fn next_credential(&mut self) -> Option<u8> {
        let n = self.credentials.iter().position(|c| *c == Unborn)?;
        self.credentials[n] = Open;
        u8::try_from(n).ok()
    }

    /// Takes users off; the complaint, if one of them has a right at that moment.
    pub(crate) fn remove(&mut self, set: Set) -> Result<(), String> {
        let hurt = set & self.on_node & self.entitled();
        self.on_node &= !set;
        if hurt == 0 { Ok(()) } else { Err("an entitled user is taken off".to_owned()) }
    }

    pub(crate) fn unsound(&self) -> Option<&'static str> {
        let open = self.those(|c| c == Open);
        if self.by_active() & !open != 0 {
            return Some("an active row on a credential that is not open");
        }
        if open.count_ones() > 1 {
            return Some("two open credentials");
        }
        None
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.expire == [Expire::Idle; 2]
            && self.reconcile == Reconcile::Idle
            && (self.bot_adds, self.late_adds, self.late_removals) == (None, 0, 0)
    }
}

/// What may happen next: the step's name, and what then is, or what it breaks.
pub(crate) type Next = Vec<(&'static str, Result<State, String>)>;

/// A request is executed, lost, or arrives late; the latter two are the one fault.
pub(crate) fn requested(from: &State, name: &'static str, removals: Set, adds: Set, then: impl Fn(&mut State)) -> Next {
    let mut next = Next::new();
    let mut done = from.clone();
    let outcome = done.remove(removals);
    done.on_node |= adds;
    then(&mut done);
    next.push((name, outcome.map(|()| done)));
    if from.faults_left > 0 && removals | adds != 0 {
        for is_late in [false, true] {
            let mut lost = from.clone();
            lost.faults_left -= 1;
            lost.late_removals |= if is_late { removals } else { 0 };
            lost.late_adds |= if is_late { adds } else { 0 };
            then(&mut lost);
            next.push((name, Ok(lost)));
        }
    }
    next
}

pub(crate) fn step(
    from: &State,
    name: &'static str,
    change: impl FnOnce(&mut State),
) -> (&'static str, Result<State, String>) {
    let mut state = from.clone();
    change(&mut state);
    (name, Ok(state))
}

pub(crate) fn bot(from: &State, without: Without) -> Next {
    let mut next = Next::new();
    if from.operations_left > 0 {
        let mut state = from.clone();
        state.operations_left -= 1;
        let active = state.rows.iter().position(|row| matches!(row, Row::Active(..)));
        let usable = |c| c == Open || (without == Without::OneWay && c == Closing);
        let credential = (0..).zip(state.credentials).find(|(_, c)| usable(*c)).map(|(n, _): (u8, _)| n);
        if let Some(Row::Active(n, _)) = active.map(|at| state.rows[at]) {
            let mut bought = state.clone();
            bought.rows[active.unwrap()] = Row::Active(n, false);
            bought.bot_adds = Some(n);
            next.push(("perennial_buy", Ok(bought)));
            let mut rotated = state.clone();
            if let Some(new) = rotated.next_credential() {
                rotated.credentials[usize::from(n)] = Closing;
                for row in &mut rotated.rows {
                    if let Row::Active(_, over) = *row {
                        *row = Row::Active(new, over);
                    }
                }
                rotated.bot_adds = Some(new);
                next.push(("perennial_rotate", Ok(rotated)));
            }
        } else if let Some(at) = state.rows.iter().position(|row| *row == Row::Unborn)
            && let Some(n) = credential.or_else(|| state.next_credential())
        {
            // Without the rule the credential is opened again.
            state.credentials[usize::from(n)] = Open;
            state.proofs &= !bit(n);
            state.rows[at] = Row::Active(n, false);
            state.bot_adds = Some(n);
            next.push(("perennial_buy", Ok(state)));
        }
    }
    if from.ends_left > 0 {
        for at in 0..MANY {
            if let Row::Active(n, false) = from.rows[at] {
                next.push(step(from, "perennial_cancel", |state| {
                    state.ends_left -= 1;
                    state.rows[at] = Row::Active(n, true);
                }));
            }
        }
    }
    if let Some(n) = from.bot_adds {
        next.extend(requested(from, "add_user", 0, bit(n), |state| state.bot_adds = None));
    }
    next
}

pub(crate) fn expire(from: &State, copy: usize, without: Without) -> Next {
    let go = |state: &mut State, to| state.expire[copy] = to;
    let end = |state: &mut State, closing: Set| {
        for row in &mut state.rows {
            if let Row::Active(n, true) = *row {
                *row = if closing & bit(n) == 0 { Row::Expired } else { Row::Expiring(n) };
            }
        }
        members(closing).for_each(|n| {
            if state.credentials[usize::from(n)] == Open {
                state.credentials[usize::from(n)] = Closing;
            }
        });
    };
    let over = from.used(|row| if let Row::Active(n, true) = row { Some(n) } else { None });
    match from.expire[copy] {
        Expire::Idle if without == Without::LookAfterLock => {
            vec![step(from, "end", |state| go(state, Expire::Decided(over & !from.entitled())))]
        }
        Expire::Idle => vec![step(from, "end", |state| {
            end(state, over & !from.entitled());
            go(state, Expire::Ended);
        })],
        Expire::Decided(closing) => vec![step(from, "end", |state| {
            members(closing).for_each(|n| state.credentials[usize::from(n)] = Closing);
            end(state, closing);
            go(state, Expire::Ended);
        })],
        Expire::Ended => vec![step(from, "list_closing", |state| {
            let closing = state.those(|c| c == Closing);
            go(state, if closing == 0 { Expire::Idle } else { Expire::Listed(closing) });
        })],
        Expire::Listed(set) => requested(from, "remove_user", set, 0, |state| go(state, Expire::Removed(set))),
        Expire::Removed(set) => vec![step(from, "find_user", |state| {
            let gone = if without == Without::Proof { set } else { set & !state.on_node };
            go(state, Expire::Asked(gone));
        })],
        Expire::Asked(gone) => {
            // Present again without a late addition: then it was never gone.
            if gone & from.on_node != 0 && without == Without::Proof {
                return vec![("record_proofs", Err("recorded as gone and never was".to_owned()))];
            }
            vec![step(from, "record_proofs", |state| {
                state.proofs |= gone;
                go(state, Expire::Recorded(gone));
            })]
        }
        Expire::Recorded(gone) => vec![step(from, "confirm_removals", |state| {
            for n in members(gone & state.proofs) {
                if state.credentials[usize::from(n)] == Closing {
                    state.credentials[usize::from(n)] = Retired;
                }
                state.rows.iter_mut().filter(|row| **row == Row::Expiring(n)).for_each(|row| *row = Row::Expired);
            }
            go(state, Expire::Idle);
        })],
    }
}

pub(crate) fn reconcile(from: &State, without: Without) -> Next {
    use Reconcile::{Added, Asked, Idle, Listed, Read, Restored};
    let open = from.those(|c| c == Open);
    match from.reconcile {
        Idle => vec![step(from, "list_users", |state| state.reconcile = Listed(state.on_node))],
        Listed(listed) => vec![step(from, "list_open_credentials", |state| {
            let of_state = listed & from.those(|c| matches!(c, Closing | Retired));
            let is_final = if without == Without::StateDecides { listed & !from.entitled() } else { of_state };
            state.reconcile = Read(from.entitled() & open & !listed, is_final, listed & open & !from.by_any());
        })],
        Read(missing, gone, unused) => vec![step(from, "credentials_by_id", |state| {
            state.reconcile = Asked(missing & open & from.entitled(), gone, unused);
        })],
        Asked(missing, gone, unused) => {
            requested(from, "add_user", 0, missing, |state| state.reconcile = Added(missing, gone, unused))
        }
        Added(missing, gone, unused) => {
            requested(from, "ask_again", missing & !open, 0, |state| state.reconcile = Restored(gone, unused))
        }
        Restored(gone, unused) => vec![step(from, "retire", |state| {
            let mut retiring = unused;
            if without != Without::RetireFirst {
                retiring &= open & !from.by_any();
                members(retiring).for_each(|n| state.credentials[usize::from(n)] = Retired);
            }
            state.reconcile = Reconcile::Retired(gone | retiring);
        })],
        Reconcile::Retired(gone) => requested(from, "remove_user", gone, 0, |state| state.reconcile = Idle),
    }
}

pub(crate) fn accidents(from: &State) -> Next {
    let mut next = Next::new();
    for n in members(from.late_adds) {
        next.push(step(from, "late add", |state| {
            state.late_adds &= !bit(n);
            state.on_node |= bit(n);
        }));
    }
    for n in members(from.late_removals) {
        let mut state = from.clone();
        state.late_removals &= !bit(n);
        let outcome = state.remove(bit(n));
        next.push(("late removal", outcome.map(|()| state)));
    }
    if from.faults_left > 0 {
        let crash = |what: &dyn Fn(&mut State)| {
            step(from, "crash", |state| {
                state.faults_left -= 1;
                what(state);
            })
        };
        next.push(crash(&|state| state.on_node = 0));
        next.push(crash(&|state| state.bot_adds = None));
        next.push(crash(&|state| state.expire[0] = Expire::Idle));
        next.push(crash(&|state| state.reconcile = Reconcile::Idle));
    }
    next
}

/// With nobody, or with an open credential that no row uses and that is on the server.
pub(crate) fn beginnings(operations: u8, ends: u8) -> [State; 2] {
    let empty = State {
        credentials: [Unborn; MANY],
        rows: [Row::Unborn; MANY],
        on_node: 0,
        proofs: 0,
        bot_adds: None,
        late_adds: 0,
        late_removals: 0,
        expire: [Expire::Idle; 2],
        reconcile: Reconcile::Idle,
        operations_left: operations,
        ends_left: ends,
        faults_left: 1,
    };
    let mut unused = empty.clone();
    unused.credentials[0] = Open;
    unused.on_node = 1;
    [empty, unused]
}
