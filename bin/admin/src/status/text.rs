//! The screen.

use perennial_core::db::admin::Moved;
use perennial_core::time::Timestamp;

use super::model::{Node, Run, Status, Work};
use crate::output::{counted, moment, rubles, table};

/// One screen for a person.
pub(super) fn text(status: &Status) -> String {
    let mut text = format!("Perennial {}, {}\n", perennial_boot::VERSION, moment(status.at));
    section(&mut text, &passes(status), &[2]);
    section(&mut text, &work(status), &[1, 3]);
    text.push_str(&format!("\nTODAY ({}, {})\n{}", status.today.date, status.zone, table(&today(status), &[1])));
    text.push_str(&format!("\n{}", standing(status)));
    if !status.nodes.is_empty() {
        section(&mut text, &nodes(status), &[1, 2, 3]);
    }
    if !status.parked.is_empty() {
        section(&mut text, &parked(status), &[1]);
    }
    text.push_str(match status.attention.len() {
        0 => "\nNothing needs a person.\n",
        _ => "\nNeeds a person\n",
    });
    for line in &status.attention {
        text.push_str(&format!("  - {line}\n"));
    }
    text
}

/// The tables of the screen by their titles, head row first.
pub(super) fn tables(status: &Status) -> Vec<(&'static str, Vec<Vec<String>>)> {
    let mut tables = vec![("Passes", passes(status)), ("Due now", work(status))];
    if !status.nodes.is_empty() {
        tables.push(("Servers", nodes(status)));
    }
    if !status.parked.is_empty() {
        tables.push(("Parked rows", parked(status)));
    }
    tables
}

fn section(text: &mut String, rows: &[Vec<String>], right: &[usize]) {
    text.push('\n');
    text.push_str(&table(rows, right));
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn passes(status: &Status) -> Vec<Vec<String>> {
    let mut rows = vec![row(["PASS", "LAST RUN", "TOOK", "EXIT", "COUNTS"])];
    rows.extend(status.passes.iter().map(|pass| {
        let under_way = pass.under_way_since.map(|at| format!("under way for {}", since(at, status.at)));
        match &pass.last {
            None => {
                let none = if pass.killed > 0 { "none ended" } else { "never" };
                row([pass.name, under_way.as_deref().unwrap_or(none), "", "", ""])
            }
            Some(run) => {
                let ago = format!("{} ago", since(run.started_at, status.at));
                let took = format!("{}.{:01} s", run.took.as_secs(), run.took.subsec_millis() / 100);
                row([pass.name, under_way.as_deref().unwrap_or(&ago), &took, &exit(run), &done(run)])
            }
        }
    }));
    rows
}

pub(super) fn exit(run: &Run) -> String {
    match run.exit_code {
        0 => "0".to_owned(),
        code => format!("{code} {}", run.outcome),
    }
}

/// What a run counted, or that there was nothing to count.
pub(super) fn done(run: &Run) -> String {
    let done = match (run.counts.is_empty(), run.servers) {
        (false, _) => counts(&run.counts),
        (true, _) if run.error.is_some() => "see below".to_owned(),
        (true, 0) => "nothing to do".to_owned(),
        (true, servers) => format!("{} compared", counted(servers, "server")),
    };
    // What a run that observes counts is what it would have done.
    if run.mode == "full" { done } else { format!("{}: {done}", run.mode) }
}

/// `listed 3, renewed 2`.
fn counts(counts: &[(String, u64)]) -> String {
    counts.iter().map(|(name, rows)| format!("{} {rows}", name.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

fn work(status: &Status) -> Vec<Vec<String>> {
    let mut rows = vec![row(["DUE NOW", "ROWS", "OLDEST", "LATE"])];
    rows.extend(status.work.iter().map(|work| {
        row([what(work.name), &number(work.rows, work.and_more), &oldest(work, status.at), &work.late.to_string()])
    }));
    rows
}

/// The work in words.
pub(super) fn what(work: &str) -> &'static str {
    match work {
        "renew" => "charge and extend",
        "remind" => "remind of trials",
        "end" => "end rights",
        "remove" => "take off servers",
        _ => "send notices",
    }
}

/// A count that stops somewhere.
pub(super) fn number(rows: u64, and_more: bool) -> String {
    if and_more { format!("{rows}+") } else { rows.to_string() }
}

pub(super) fn oldest(work: &Work, now: Timestamp) -> String {
    let Some(at) = work.oldest else { return String::new() };
    if at > now {
        return format!("ends in {}", since(now, at));
    }
    let waits = since(at, now);
    match work.name {
        "renew" | "end" => format!("over for {waits}"),
        "remove" => format!("ended {waits} ago"),
        _ => format!("waits {waits}"),
    }
}

fn today(status: &Status) -> Vec<Vec<String>> {
    let money = &status.today.money;
    let mut lines = vec![
        ("charged by renew", money.renewals),
        ("sold", money.purchases),
        ("topped up", money.top_ups),
        ("refunded", money.refunds),
    ];
    // What never happens in most services takes no line.
    if money.corrections != Moved::default() {
        lines.push(("corrected by hand", money.corrections));
    }
    let transfers = |moved: Moved| format!("in {}", counted(moved.transfers.unsigned_abs(), "transfer"));
    lines.iter().map(|(name, moved)| row([name, &rubles(moved.amount), &transfers(*moved)])).collect()
}

fn standing(status: &Status) -> String {
    let rights: i64 = status.rights.iter().map(|(_, rows)| rows).sum();
    let by_source: Vec<String> = status.rights.iter().map(|(source, rows)| format!("{source} {rows}")).collect();
    let sources = if by_source.is_empty() { String::new() } else { format!(" ({})", by_source.join(", ")) };
    let (outbox, today) = (&status.outbox, &status.today);
    let lines = [
        row(["active rights", &format!("{rights}{sources}")]),
        row([
            "wallets",
            &format!("{} in {}", rubles(status.wallets.total), counted(status.wallets.filled.unsigned_abs(), "wallet")),
        ]),
        row([
            "notices",
            &format!(
                "sent today {}, dropped {}; later {}, being sent {}, dead {}",
                today.sent, today.dropped, outbox.later, outbox.sending, outbox.dead
            ),
        ]),
    ];
    table(&lines, &[])
}

fn nodes(status: &Status) -> Vec<Vec<String>> {
    let mut rows = vec![row(["SERVER", "USERS", "TO REMOVE", "WATCHED", "LAST COMPARED", "FOUND AND DONE"])];
    rows.extend(status.nodes.iter().map(|node| {
        let state = &node.state;
        let users = state.users.map_or_else(|| "?".to_owned(), |users| users.to_string());
        let compared =
            node.compared.as_ref().map_or_else(|| "never".to_owned(), |c| format!("{} ago", since(c.at, status.at)));
        row([&state.name, &users, &state.unproven.to_string(), &state.quarantined.to_string(), &compared, &drift(node)])
    }));
    rows
}

/// What the last comparison found, in words.
pub(super) fn drift(node: &Node) -> String {
    let silent = node.state.failures > 0;
    match &node.compared {
        Some(compared) if !compared.reachable => "no answer".to_owned(),
        Some(compared) if compared.refused_because.is_some() => "stopped by a brake".to_owned(),
        Some(compared) if !compared.drift.is_empty() => counts(&compared.drift),
        Some(_) if silent => format!("{} since", counted(node.state.failures.unsigned_abs().into(), "failed contact")),
        Some(_) => "no difference".to_owned(),
        None if silent => counted(node.state.failures.unsigned_abs().into(), "failed contact"),
        None => String::new(),
    }
}

fn parked(status: &Status) -> Vec<Vec<String>> {
    let mut rows = vec![row(["PARKED FOR", "ROWS", "SINCE", "REASON"])];
    rows.extend(
        status
            .parked
            .iter()
            .map(|parked| row([&parked.pass, &parked.rows.to_string(), &moment(parked.since), &parked.reason])),
    );
    rows
}

/// How long it is from one moment to a later one; 0 s when it is not later.
pub(super) fn since(from: Timestamp, until: Timestamp) -> String {
    age((until - from).whole_seconds().max(0).unsigned_abs())
}

/// `40 s`, `12 min`, `5 h 10 min`, `3 d 4 h`.
pub(super) fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min"),
        3_600..172_800 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (18_600, "5 h 10 min"),
            (172_799, "47 h 59 min"),
            (172_800, "2 d"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
