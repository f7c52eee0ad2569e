//! Makes a history that differs as short as time allows: delta debugging, from halves to single actions.

use std::time::{Duration, Instant};

use crate::action::{Action, is_of};

/// The shortest part of a history found that still differs, and its difference.
pub(crate) fn shrink(
    history: &[Action],
    difference: String,
    limit: Duration,
    differs: impl Fn(&[Action]) -> Option<String>,
) -> (Vec<Action>, String) {
    let began = Instant::now();
    let (mut history, mut difference) = (history.to_vec(), difference);
    let mut keep = |candidate: Vec<Action>, history: &mut Vec<Action>| {
        let found = differs(&candidate);
        if let Some(found) = &found {
            (*history, difference) = (candidate, found.clone());
        }
        found.is_some()
    };
    // Mostly it is about one customer: an eighth of them, an eighth of these.
    loop {
        let mut users: Vec<usize> = history.iter().filter_map(user_of).collect();
        users.sort_unstable();
        users.dedup();
        let part = users.len().div_ceil(8).max(1);
        let of = |users: &[usize]| history.iter().filter(|action| is_of(action, users)).cloned().collect::<Vec<_>>();
        let parts: Vec<Vec<Action>> = users.chunks(part).map(of).collect();
        let some_differ = parts.into_iter().any(|part| began.elapsed() < limit && keep(part, &mut history));
        if users.len() <= 1 || !some_differ {
            break;
        }
    }
    let mut size = history.len().div_ceil(2);
    while size > 0 && began.elapsed() < limit {
        let mut at = 0;
        let mut shorter = false;
        while at < history.len() && began.elapsed() < limit {
            let mut candidate = history.clone();
            candidate.drain(at..(at + size).min(history.len()));
            if keep(candidate, &mut history) {
                shorter = true;
            } else {
                at += size;
            }
        }
        if size > 1 || !shorter {
            size /= 2;
        }
    }
    (history, difference)
}

fn user_of(action: &Action) -> Option<usize> {
    if let Action::Op { user, .. } = action { Some(*user) } else { None }
}
