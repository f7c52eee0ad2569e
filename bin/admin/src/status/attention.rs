//! What needs a person: said with what to do, the worst first.

use perennial_boot::Exit;
use perennial_core::operator::command;

use super::model::{Node, PassState, Run, Status};
use super::text::{age, number, since};
use crate::output::counted;

/// A pass that has not begun for so many of its intervals is not run any more.
const MISSED_INTERVALS: u32 = 3;
/// A server that failed so often in a row is not just restarting.
const FAILED_CONTACTS: i32 = 3;

/// All of it; empty: nothing.
pub(super) fn of(status: &Status, is_a_copy: bool, sells: bool) -> Vec<String> {
    let mut found = Vec::new();
    if is_a_copy {
        found.push(format!("this database is a copy: no pass acts on it until {}", command("installation accept")));
    }
    if !sells {
        found.push(format!("no tariff is sold: {} writes one", command("tariff set")));
    }
    found.extend(status.passes.iter().flat_map(|pass| pass_needs(pass, status)));
    found.extend(late_work(status));
    found.extend(status.nodes.iter().flat_map(node_needs));
    let parked: u64 = status.parked.iter().map(|parked| parked.rows.unsigned_abs()).sum();
    if parked > 0 {
        let (see, then) = (command("parked"), command("unpark"));
        found.push(format!("{} parked: see {see}, then {then}", counted(parked, "row")));
    }
    let dead = status.outbox.dead.unsigned_abs();
    if dead > 0 {
        found.push(format!("{} given up: see {}", counted(dead, "notice"), command("notices list")));
    }
    found.extend(warnings(status));
    found
}

/// What the last runs warned of, said once however many passes say it. A stop in good order is no warning to a person.
fn warnings(status: &Status) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for pass in &status.passes {
        let last = pass.last.iter().filter(|run| run.exit_code != i32::from(Exit::Stopped.code()));
        for warning in last.flat_map(|run| &run.warnings) {
            if !found.iter().any(|line| line.ends_with(warning.as_str())) {
                found.push(format!("{} warns: {warning}", pass.name));
            }
        }
    }
    found
}

fn pass_needs(pass: &PassState, status: &Status) -> Vec<String> {
    let name = pass.name;
    let Some(begun) = pass.last_begun_at else {
        return vec![format!("{name} has never run here: switch its timer or its cron line on")];
    };
    let mut found = Vec::new();
    if status.at - begun > pass.every * MISSED_INTERVALS {
        let (ago, every) = (since(begun, status.at), age(pass.every.as_secs()));
        found.push(format!("{name} last began {ago} ago, it should every {every}: look at its timer or its cron line"));
    }
    if pass.killed > 0 {
        let runs = counted(pass.killed as u64, "run");
        found.push(format!("{runs} of {name} without an end: killed, or the host went down"));
    }
    if let Some(run) = &pass.last {
        found.extend(ended_badly(name, run, pass.bad_in_a_row));
    }
    found
}

fn ended_badly(name: &str, run: &Run, in_a_row: usize) -> Option<String> {
    let code = run.exit_code;
    if matches!(u8::try_from(code), Ok(code) if code == Exit::Done.code() || code == Exit::Stopped.code()) {
        return None;
    }
    let times = if in_a_row > 1 { format!(", {in_a_row} times in a row") } else { String::new() };
    let why = run.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    Some(format!("{name} ended with exit code {code} ({}){times}{why}", run.outcome))
}

fn late_work(status: &Status) -> impl Iterator<Item = String> + '_ {
    status.work.iter().filter(|work| work.late > 0).map(|work| {
        let what = match work.name {
            "renew" => "due for renewal and past the end",
            "remind" => "trial reminders overdue",
            "end" => "rights past their end and not ended",
            "remove" => "rights ended and not proven gone from every server",
            _ => "notices overdue",
        };
        let oldest = work.oldest.map(|at| format!(", the oldest for {}", since(at, status.at))).unwrap_or_default();
        format!("{what}: {}{oldest}", number(work.late, work.and_more))
    })
}

fn node_needs(node: &Node) -> Vec<String> {
    let mut found = Vec::new();
    let name = &node.state.name;
    let silent = node.compared.as_ref().is_some_and(|compared| !compared.reachable);
    if node.state.failures >= FAILED_CONTACTS || silent {
        let failures = match node.state.failures {
            0 => String::new(),
            failures => format!(" ({})", counted(failures.unsigned_abs().into(), "failed contact")),
        };
        let retire = command(&format!("nodes retire {name}"));
        found.push(format!("server {name} does not answer{failures}: if it is gone for good, {retire}"));
    }
    if let Some(why) = node.compared.as_ref().and_then(|compared| compared.refused_because.as_ref()) {
        found.push(format!("a brake stopped removals on server {name}: {why}"));
    }
    found
}
