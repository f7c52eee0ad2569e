//! `nodes check`: reaches the servers of the settings, says what each can do, and counts how it and the database are
//! apart. Nothing is changed, here or there; `reconcile-xray --dry-run` shows what would be.

use std::time::Duration;

use futures_util::future::join_all;
use perennial_boot::Exit;
use perennial_core::db::Database;
use perennial_core::node::{Inbound, Node, Trouble};
use perennial_core::ports::{Bounded, XrayError};
use perennial_core::reconcile::{Comparison, Owners, compare};
use perennial_core::time::Deadline;
use perennial_xray::{Abilities, XrayNode};
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::output::{Answer, table};
use crate::session::Session;
use crate::unknown;

/// How long all of it may take.
const BUDGET: Duration = Duration::from_secs(120);

/// What was found of a server.
struct Found {
    name: String,
    /// What the passes do with a server of this name, where that is not to use it.
    note: Option<&'static str>,
    abilities: Result<Abilities, XrayError>,
    inbounds: Vec<(Inbound, Result<Counts, String>)>,
}

/// How an inbound and the database are apart.
struct Counts {
    listed: u64,
    entitled: u64,
    missing: u64,
    wrong: u64,
    extra: u64,
    foreign: u64,
    protected: u64,
    shared_uuid: u64,
}

impl From<Comparison> for Counts {
    fn from(found: Comparison) -> Self {
        Self {
            listed: found.listed,
            entitled: found.entitled,
            missing: found.missing.len() as u64,
            wrong: found.misfits.len() as u64,
            extra: found.extras.len() as u64,
            foreign: found.foreign,
            protected: found.protected,
            shared_uuid: found.sharing,
        }
    }
}

/// Checks the servers of the settings.
///
/// # Errors
/// Exit code 78 for settings that cannot be used; 3 for a name that is not in them; the database's.
pub async fn run(session: &Session, call: cli::NodesCheck) -> Result<Answer, Failure> {
    let mut nodes = call.xray.clients(&session.config)?;
    if nodes.is_empty() {
        let hint = "add [[node]] to the settings file, or give --xray";
        return Err(Failure::configuration("there is no node in the settings").with_hint(hint));
    }
    if let Some(name) = &call.name {
        nodes.retain(|node| node.name == *name);
    }
    if nodes.is_empty() {
        let name = call.name.unwrap_or_default();
        return Err(unknown(&format!("node {name}"), "it is not in the settings; without a name all are checked"));
    }
    let db = session.reader().await?;
    let known = db.run_tx("list_nodes", async |tx| tx.list_nodes().await).await?;
    let deadline = Deadline::after(BUDGET);
    let owners = Owners::new(&session.config.owner_prefix, &session.config.protected_prefixes);
    let checks = nodes.iter().map(async |node| {
        let retired = known.iter().any(|row| row.name == node.name && row.retired_at.is_some());
        let note = retired.then_some("retired: the passes leave it alone");
        check(&db, &deadline, node, &owners).await.map(|found| Found { note, ..found })
    });
    let found = join_all(checks).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let json = json!({ "nodes": found.iter().map(as_json).collect::<Vec<_>>() });
    Ok(Answer { exit: exit(&found), ..Answer::new(found.iter().map(as_text).collect::<String>(), json) })
}

async fn check(db: &Database, deadline: &Deadline, node: &Node<XrayNode>, owners: &Owners) -> Result<Found, Failure> {
    let abilities = node.xray.abilities().await;
    let mut found = Found { name: node.name.clone(), note: None, abilities, inbounds: Vec::new() };
    // A server that does not answer is not asked once more for each inbound.
    if matches!(found.abilities, Ok(_) | Err(XrayError::Misconfigured { .. } | XrayError::Refused { .. })) {
        for inbound in &node.inbounds {
            let counted = count(db, deadline, node, inbound, owners).await?;
            found.inbounds.push((inbound.clone(), counted));
        }
    }
    Ok(found)
}

/// Compares one inbound; a reason where that is not possible.
async fn count(
    db: &Database,
    deadline: &Deadline,
    node: &Node<XrayNode>,
    inbound: &Inbound,
    owners: &Owners,
) -> Result<Result<Counts, String>, Failure> {
    if let Err(error) = node.xray.check_inbound(&inbound.tag).await {
        return Ok(Err(error.to_string()));
    }
    let xray = Bounded { xray: &node.xray, node: &node.name, deadline };
    let alone = Node { name: node.name.clone(), inbounds: vec![inbound.clone()], xray };
    match compare(db, deadline, &alone, owners).await {
        Ok(comparison) => Ok(Ok(comparison.into())),
        Err(Trouble::Node(error)) => Ok(Err(error.to_string())),
        Err(Trouble::OutOfTime) => Ok(Err(format!("not compared within {} s", BUDGET.as_secs()))),
        Err(Trouble::Database(error)) => Err(error.into()),
    }
}

/// 69 when no server could be reached, 3 when one of them or an inbound cannot be worked on.
fn exit(found: &[Found]) -> Exit {
    let unreachable =
        |node: &Found| matches!(node.abilities, Err(XrayError::Unreachable { .. } | XrayError::Unknown { .. }));
    let in_trouble =
        |node: &Found| node.abilities.is_err() || node.inbounds.iter().any(|(_, counted)| counted.is_err());
    if found.iter().all(unreachable) {
        Exit::Unavailable
    } else if found.iter().any(in_trouble) {
        Exit::Partial
    } else {
        Exit::Done
    }
}

fn as_text(node: &Found) -> String {
    let name = &node.name;
    let note = node.note.map(|note| format!(" ({note})")).unwrap_or_default();
    let mut text = match &node.abilities {
        Ok(abilities) => format!("{name}{note}: {}\n", able(abilities)),
        // The error names the node.
        Err(error) => format!("{error}{note}\n"),
    };
    let head = ["", "inbound", "group", "users", "entitled", "missing", "wrong", "extra", "foreign", "protected"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (inbound, counted) in &node.inbounds {
        if let Ok(counts) = counted {
            let Counts { listed, entitled, missing, wrong, extra, foreign, protected, .. } = counts;
            let numbers = [listed, entitled, missing, wrong, extra, foreign, protected].map(u64::to_string);
            let mut row = vec![String::new(), inbound.tag.0.clone(), inbound.group.clone()];
            row.extend(numbers);
            rows.push(row);
        }
    }
    if rows.len() > 1 {
        text.push_str(&table(&rows, &[3, 4, 5, 6, 7, 8, 9]));
    }
    for (_, counted) in &node.inbounds {
        match counted {
            Err(error) => text.push_str(&format!("  {error}\n")),
            Ok(Counts { shared_uuid: 0, .. }) => {}
            Ok(counts) => text.push_str(&format!("  {} users share a UUID with another one\n", counts.shared_uuid)),
        }
    }
    let others = others(node);
    if !others.is_empty() {
        text.push_str(&format!("  inbounds that are not in the settings, left alone: {}\n", others.join(", ")));
    }
    text
}

fn able(abilities: &Abilities) -> String {
    let uptime = match abilities.uptime {
        Some(uptime) => format!("up for {} s", uptime.as_secs()),
        None => "StatsService is not among the services of its API".to_owned(),
    };
    let release = match abilities.at_least {
        Some(release) => format!("Xray {release} or newer"),
        None => "Xray older than v25.2.18".to_owned(),
    };
    let online = if abilities.tells_online { "tells who is connected" } else { "does not tell who is connected" };
    format!("{uptime}, {release}, {online}")
}

/// Inbounds of the server that the settings do not have.
fn others(node: &Found) -> Vec<&str> {
    let listed = node.abilities.as_ref().ok().and_then(|abilities| abilities.inbounds.as_ref());
    let ours = |tag: &str| node.inbounds.iter().any(|(inbound, _)| inbound.tag.0 == tag);
    listed.into_iter().flatten().map(|tag| tag.0.as_str()).filter(|tag| !tag.is_empty() && !ours(tag)).collect()
}

fn as_json(node: &Found) -> Value {
    let abilities = node.abilities.as_ref();
    let inbounds: Vec<Value> = node
        .inbounds
        .iter()
        .map(|(inbound, counted)| {
            let mut object = json!({ "tag": inbound.tag.0, "group": inbound.group, "error": null });
            match counted {
                Ok(counts) => {
                    object["listed"] = counts.listed.into();
                    object["entitled"] = counts.entitled.into();
                    object["missing"] = counts.missing.into();
                    object["wrong"] = counts.wrong.into();
                    object["extra"] = counts.extra.into();
                    object["foreign"] = counts.foreign.into();
                    object["protected"] = counts.protected.into();
                    object["shared_uuid"] = counts.shared_uuid.into();
                }
                Err(error) => object["error"] = error.clone().into(),
            }
            object
        })
        .collect();
    json!({
        "name": node.name,
        "note": node.note,
        "error": abilities.err().map(ToString::to_string),
        "uptime_seconds": abilities.ok().and_then(|found| found.uptime).map(|uptime| uptime.as_secs()),
        "at_least": abilities.ok().and_then(|found| found.at_least),
        "tells_online": abilities.ok().map(|found| found.tells_online),
        "inbounds": inbounds,
        "other_inbounds": others(node),
    })
}
