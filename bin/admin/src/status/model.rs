//! The model: what was read, put in order. Pure; every form of the answer says this and nothing else.

use std::time::Duration;

use perennial_boot::Report;
use perennial_core::db::admin::{DueWork, MoneyOfDay, NodeState, Outbox, ParkedFor, PassRun, Wallets};
use perennial_core::pass::Pass;
use perennial_core::time::Timestamp;
use serde_json::Value;
use time::Date;

use super::attention;
use super::read::{MOST, Read};

/// How often a pass is run (the shipped timers say the same).
const fn interval(pass: Pass) -> Duration {
    Duration::from_secs(match pass {
        Pass::Renew | Pass::ReconcileXray => 600,
        Pass::NotifyTrials => 300,
        Pass::ExpireFast => 60,
    })
}

/// A run that has not said how it ended for so long was killed: longer than any budget of a shipped pass.
const KILLED_AFTER: Duration = Duration::from_secs(15 * 60);

/// How the service is doing.
#[derive(Debug, Clone)]
pub struct Status {
    /// When.
    pub at: Timestamp,
    /// The operator's zone, which days are counted in.
    pub zone: String,
    /// How long before its end `renew` charges.
    pub window: Duration,
    /// The four passes.
    pub passes: Vec<PassState>,
    /// What is due, in the order of the passes.
    pub work: Vec<Work>,
    /// Active rights by source.
    pub rights: Vec<(String, i64)>,
    /// Today's money and messages.
    pub today: Today,
    /// What is in the wallets.
    pub wallets: Wallets,
    /// Notices beside those due.
    pub outbox: Outbox,
    /// Servers in use.
    pub nodes: Vec<Node>,
    /// Parked rows by reason.
    pub parked: Vec<ParkedFor>,
    /// What needs a person, the worst first; empty: nothing.
    pub attention: Vec<String>,
}

/// A pass and its newest runs.
#[derive(Debug, Clone)]
pub struct PassState {
    /// Its name.
    pub name: &'static str,
    /// How often it is run.
    pub every: Duration,
    /// The newest run that ended.
    pub last: Option<Run>,
    /// Since when one is under way.
    pub under_way_since: Option<Timestamp>,
    /// When the newest run began, ended or not.
    pub last_begun_at: Option<Timestamp>,
    /// Runs after the last one that ended which never said how they did.
    pub killed: usize,
    /// Newest runs in a row that ended neither done nor in good order.
    pub bad_in_a_row: usize,
}

/// A run that ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// done, partial, refused, stopped, failed.
    pub outcome: String,
    /// Its exit code.
    pub exit_code: i32,
    /// How far it might go: observe, limited, full.
    pub mode: String,
    /// Its counts, those that are not zero, in the order of the pass's summary.
    pub counts: Vec<(String, u64)>,
    /// Servers that it told about.
    pub servers: u64,
    /// What went on degraded.
    pub warnings: Vec<String>,
    /// Why it failed or was refused.
    pub error: Option<String>,
}

/// Work of one kind that is due.
#[derive(Debug, Clone)]
pub struct Work {
    /// `renew`, `remind`, `end`, `remove`, `deliver`.
    pub name: &'static str,
    /// The pass that does it.
    pub pass: &'static str,
    /// Rows due now.
    pub rows: u64,
    /// There are more than were counted.
    pub and_more: bool,
    /// Of the first of them: its end, or since when it waits.
    pub oldest: Option<Timestamp>,
    /// Those that should have been done by now.
    pub late: u64,
}

/// What happened since midnight in the operator's zone.
#[derive(Debug, Clone)]
pub struct Today {
    /// The date.
    pub date: Date,
    /// Since when.
    pub since: Timestamp,
    /// What the ledger moved.
    pub money: MoneyOfDay,
    /// Notices sent.
    pub sent: u64,
    /// Notices dropped.
    pub dropped: u64,
    /// Notices given up.
    pub dead: u64,
}

/// A server.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its row.
    pub state: NodeState,
    /// What `reconcile-xray` last found and did there; none: it has not compared it.
    pub compared: Option<Compared>,
}

/// The last comparison of a server with the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// When.
    pub at: Timestamp,
    /// It answered.
    pub reachable: bool,
    /// Differences by kind, those that are not zero.
    pub drift: Vec<(String, u64)>,
    /// The brake that stopped removals.
    pub refused_because: Option<String>,
}

impl Status {
    /// Makes the model of what was read.
    #[must_use]
    pub fn of(read: &Read) -> Self {
        let passes = Pass::ALL.iter().map(|pass| state(*pass, read)).collect();
        let sent = |number: fn(&perennial_core::db::admin::RunsOfDay) -> i64| read.done.iter().map(number).sum::<i64>();
        let mut status = Self {
            at: read.at,
            zone: read.zone.clone(),
            window: read.window,
            work: read.due.iter().filter_map(work).collect(),
            rights: read.rights.clone(),
            today: Today {
                date: read.today.date,
                since: read.today.begins,
                money: read.money,
                sent: sent(|day| day.sent).unsigned_abs(),
                dropped: sent(|day| day.dropped).unsigned_abs(),
                dead: sent(|day| day.dead).unsigned_abs(),
            },
            wallets: read.wallets,
            outbox: read.outbox,
            nodes: read.nodes.iter().map(|state| node(state, &read.runs)).collect(),
            parked: read.parked.clone(),
            passes,
            attention: Vec::new(),
        };
        status.attention = attention::of(&status, read.installation.is_a_copy(), read.sells);
        status
    }
}

fn state(pass: Pass, read: &Read) -> PassState {
    let runs: Vec<&PassRun> = read.runs.iter().filter(|run| run.pass == pass.name()).collect();
    let newer = runs.iter().take_while(|run| run.finished_at.is_none());
    let (killed, alive): (Vec<&PassRun>, Vec<&PassRun>) =
        newer.copied().partition(|run| run.started_at + KILLED_AFTER <= read.at);
    let ended = runs.iter().filter(|run| run.finished_at.is_some());
    PassState {
        name: pass.name(),
        every: interval(pass),
        last: ended.clone().next().and_then(|run| ended_run(pass, run)),
        under_way_since: alive.last().map(|run| run.started_at),
        last_begun_at: runs.first().map(|run| run.started_at),
        killed: killed.len(),
        bad_in_a_row: ended.take_while(|run| !matches!(run.exit_code, Some(0 | 75))).count(),
    }
}

fn ended_run(pass: Pass, run: &PassRun) -> Option<Run> {
    let summary = run.summary.as_ref().unwrap_or(&Value::Null);
    let error = summary["error"].as_str().map(str::to_owned);
    Some(Run {
        started_at: run.started_at,
        took: Duration::try_from(run.finished_at? - run.started_at).unwrap_or_default(),
        outcome: run.outcome.clone().unwrap_or_default(),
        exit_code: run.exit_code.unwrap_or_default(),
        mode: run.mode.clone(),
        counts: in_order(pass, numbers(&summary["counts"], &[])),
        warnings: summary["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|w| Some(w.as_str()?.to_owned()))
            .collect(),
        servers: summary["nodes"].as_array().map_or(0, |nodes| nodes.len() as u64),
        error,
    })
}

/// As the pass's own summary orders them; the database keeps an order of its own.
fn in_order(pass: Pass, mut counts: Vec<(String, u64)>) -> Vec<(String, u64)> {
    let names = Report::empty(pass).counts;
    counts.sort_by_key(|(name, _)| names.iter().position(|(known, _)| known == name));
    counts
}

/// The members of an object that are whole numbers above zero, but for some.
fn numbers(object: &Value, but: &[&str]) -> Vec<(String, u64)> {
    let members = object.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| !but.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.clone(), value.as_u64().filter(|number| *number > 0)?)))
        .collect()
}

fn work(due: &DueWork) -> Option<Work> {
    let (name, pass) = match due.work.as_str() {
        "renew" => ("renew", Pass::Renew.name()),
        "remind" => ("remind", Pass::NotifyTrials.name()),
        "end" => ("end", Pass::ExpireFast.name()),
        "remove" => ("remove", Pass::ExpireFast.name()),
        "deliver" => ("deliver", "any pass"),
        _ => return None,
    };
    Some(Work {
        name,
        pass,
        rows: due.rows.unsigned_abs(),
        and_more: due.rows >= MOST,
        oldest: due.oldest,
        late: due.late.unsigned_abs(),
    })
}

fn node(state: &NodeState, runs: &[PassRun]) -> Node {
    // A run may have looked at one server alone (`--node`): the newest that looked at this one counts.
    let compared = runs.iter().filter(|run| run.pass == Pass::ReconcileXray.name()).find_map(|run| {
        let nodes = run.summary.as_ref()?["nodes"].as_array()?;
        let found = nodes.iter().find(|node| node["name"] == state.name.as_str())?;
        Some(Compared {
            at: run.finished_at?,
            reachable: found["reachable"].as_bool().unwrap_or(false),
            drift: numbers(found, &["listed", "entitled", "protected", "foreign"]),
            refused_because: found["refused_because"].as_str().map(str::to_owned),
        })
    });
    Node { state: state.clone(), compared }
}
