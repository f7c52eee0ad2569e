//! The access protocol (docs/access-protocol.md) as a model, searched through: every interleaving of a bot, two copies of
//! `expire-fast`, a `reconcile-xray`, one server and one fault. One user, one access group, up to three credentials one
//! after the other.
//!
//! The model's steps bear the names of the transactions and calls they stand for. A transaction of the protocol's sources
//! that is neither a step here nor on the list of those without a part in it makes this file go red, and so does a step
//! without a counterpart. Each rule of the protocol is also left out once ([`Without`]), to see that the search finds what it
//! is there for.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, shown with --no-capture

mod model;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::Path;

use model::{Expire, Next, Reconcile, State, Without, accidents, beginnings, bot, expire, reconcile};

/// One ordinary pass of each program: then everybody entitled is there, and nobody else.
fn rests_well(state: &State) -> Result<(), String> {
    let mut state = State { operations_left: 0, ends_left: 0, faults_left: 0, ..state.clone() };
    let mut run = |what: &dyn Fn(&State) -> Next, is_idle: &dyn Fn(&State) -> bool| -> Result<(), String> {
        loop {
            state = what(&state).remove(0).1?;
            if is_idle(&state) {
                return Ok(());
            }
        }
    };
    let idle = |state: &State| state.expire[0] == Expire::Idle;
    run(&|state| expire(state, 0, Without::Nothing), &idle)?;
    run(&|state| reconcile(state, Without::Nothing), &|state| state.reconcile == Reconcile::Idle)?;
    if state.on_node != state.entitled() {
        return Err(format!("at rest, after one pass of each: {state:?}"));
    }
    Ok(())
}

/// States seen and steps taken, or the shortest way to what is broken.
fn search(begin: State, copies: usize, without: Without) -> Result<(usize, BTreeSet<&'static str>), String> {
    let mut seen = HashSet::from([begin.clone()]);
    let mut ways: Vec<(usize, &'static str)> = vec![(0, "begin")];
    let mut queue = VecDeque::from([(begin, 0)]);
    while let Some((state, at)) = queue.pop_front() {
        let way = |ways: &[(usize, &'static str)], last: &str| {
            let (mut names, mut at) = (vec![last.to_owned()], at);
            while at != 0 {
                names.push(ways[at].1.to_owned());
                at = ways[at].0;
            }
            names.reverse();
            names.join(" → ")
        };
        if let Some(why) = state.unsound() {
            return Err(format!("{why}: {}", way(&ways, "there")));
        }
        if state.is_at_rest()
            && without == Without::Nothing
            && let Err(why) = rests_well(&state)
        {
            return Err(format!("{why}: {}", way(&ways, "there")));
        }
        let mut next = bot(&state, without);
        (0..copies).for_each(|copy| next.extend(expire(&state, copy, without)));
        next.extend(reconcile(&state, without));
        next.extend(accidents(&state));
        for (name, outcome) in next {
            let to = outcome.map_err(|why| format!("{why}: {}", way(&ways, name)))?;
            if seen.insert(to.clone()) {
                ways.push((at, name));
                queue.push_back((to, ways.len() - 1));
            }
        }
    }
    Ok((seen.len(), ways.into_iter().map(|(_, name)| name).collect()))
}

#[test]
fn no_interleaving_cuts_off_anybody_entitled_and_every_rest_is_right() {
    let soak: &[_] = if std::env::var_os("PERENNIAL_SOAK").is_some() { &[(1, 3, 2), (2, 2, 1)] } else { &[] };
    let mut states = 0;
    let mut taken = BTreeSet::new();
    for (copies, operations, ends) in [(1, 2, 1), (2, 1, 1)].iter().chain(soak) {
        for begin in beginnings(*operations, *ends) {
            let (seen, steps) = search(begin, *copies, Without::Nothing).unwrap();
            states += seen;
            taken.extend(steps);
        }
    }
    println!("{states} states");
    assert!(states > 50_000, "only {states} states: the model has lost its steps");
    let idle: Vec<_> = STEPS.iter().filter(|step| !taken.contains(*step)).collect();
    assert!(idle.is_empty(), "steps that are never taken: {idle:?}");
}

#[test]
fn what_each_rule_prevents_is_found_without_it() {
    for (without, expected) in [
        (Without::OneWay, "an entitled user is taken off"),
        (Without::LookAfterLock, "an active row on a credential that is not open"),
        (Without::Proof, "recorded as gone and never was"),
        (Without::RetireFirst, "an entitled user is taken off"),
        (Without::StateDecides, "an entitled user is taken off"),
    ] {
        let found = beginnings(2, 1).into_iter().find_map(|begin| search(begin, 1, without).err());
        let found = found.unwrap_or_else(|| panic!("without {without:?} nothing was found"));
        println!("{without:?}: {found}");
        assert!(found.starts_with(expected), "{without:?}: {found}");
    }
}

/// Transactions and calls that are steps of the model.
const STEPS: [&str; 15] = [
    "add_user",
    "ask_again",
    "confirm_removals",
    "credentials_by_id",
    "end",
    "find_user",
    "list_closing",
    "list_open_credentials",
    "list_users",
    "perennial_buy",
    "perennial_cancel",
    "perennial_rotate",
    "record_proofs",
    "remove_user",
    "retire",
];
/// Those that change or decide nothing between database and servers: counts, leases, what a pass remembers of a server; and
/// the other half of a reading that is one step here.
const WITHOUT_PART: [&str; 19] = [
    "adopt_node",
    "closing_groups",
    "count_active",
    "count_end_due",
    "credentials_by_email",
    "database_identity",
    "keep_start",
    "known_nodes",
    "lease_node",
    "list_end_due",
    "list_nodes",
    "list_proven",
    "node_memory",
    "record_gone",
    "release_node",
    "set_list_size",
    "still_due_to_end",
    "still_strangers",
    "watch",
];

#[test]
fn the_steps_of_the_model_are_those_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("crates/core/src/ending.rs"), root.join("crates/core/src/removal.rs")];
    for folder in
        ["crates/core/src/ending", "crates/core/src/removal", "crates/core/src/reconcile", "bin/reconcile-xray/src"]
    {
        let sources = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(sources.filter(|path| path.extension().is_some_and(|end| end == "rs")));
    }
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let one_line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");

    let mut found = BTreeSet::new();
    for rest in one_line.split("run_tx(").skip(1).chain(one_line.split("run_batch(").skip(1)) {
        let name = rest.split('"').nth(1).unwrap();
        found.insert(name.to_owned());
    }
    for call in ["add_user", "remove_user", "find_user", "list_users"] {
        if one_line.contains(&format!(".{call}(")) {
            found.insert(call.to_owned());
        }
    }
    let functions = std::fs::read_to_string(root.join("sql/migrations/0006_bot_functions.sql")).unwrap();
    found.extend(
        STEPS.iter().filter(|name| functions.contains(&format!("FUNCTION {name}("))).map(|name| (*name).to_owned()),
    );

    let known = |name: &String| STEPS.contains(&name.as_str()) || WITHOUT_PART.contains(&name.as_str());
    let new: Vec<&String> = found.iter().filter(|name| !known(name)).collect();
    assert!(new.is_empty(), "the sources have steps that the model does not know: {new:?}");
    let gone: Vec<&&str> = STEPS.iter().filter(|name| !found.contains(**name)).collect();
    assert!(gone.is_empty(), "the model has steps that the sources have not: {gone:?}");
}
