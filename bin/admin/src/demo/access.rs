//! The part of the demo that needs Xray servers: empty ones are filled, what is over is ended and taken off, and a drift
//! is made and healed. Both sides are compared at each step, by the code that `reconcile-xray` acts on.

use std::time::Duration;

use perennial_core::node::{Node, Trouble};
use perennial_core::pass::Pass;
use perennial_core::ports::{Bounded, Xray as _, XrayUser};
use perennial_core::reconcile::{Owners, compare};
use perennial_core::time::Deadline;
use perennial_xray::XrayNode;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::Stage;
use super::made_up::failed;
use super::programs::{Programs, Run};
use crate::failure::Failure;
use crate::output::table;
use crate::session::Session;

/// How long a comparison may take.
const BUDGET: Duration = Duration::from_secs(60);
/// What somebody else puts on a server, under our prefix.
const STRANGER: &str = "stranger";

// The time that a stranger is watched, and the minute between two sightings.
const PUT_CLOCK_BACK: &str = "
UPDATE orphans SET first_seen_at = first_seen_at - interval '11 minutes', last_seen_at = last_seen_at - interval '2 minutes'";

const CANCEL_TEN: &str = "
SELECT count(perennial_cancel(s.id, 'demo:cancel:' || s.id))
FROM (
    SELECT id FROM subscriptions
    WHERE status = 'active' AND source = 'payment' AND expires_at > now() + interval '1 hour'
    ORDER BY id LIMIT 10
) s";

const FIND_ENTITLED: &str = "
SELECT c.email FROM credentials c JOIN subscriptions s ON s.credential_id = c.id
WHERE c.closed_at IS NULL AND c.access_group = ANY ($1) AND s.status = 'active' AND s.expires_at > now() + interval '1 hour'
ORDER BY c.id LIMIT 1";

/// How a server and the database are apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sides {
    node: String,
    entitled: u64,
    there: u64,
    missing: u64,
    extra: u64,
}

/// What was shown.
pub(super) struct Served {
    steps: Vec<(&'static str, Vec<Sides>)>,
    runs: Vec<Run>,
}

impl Served {
    /// In the end everybody entitled is on every server, and nobody else.
    pub(super) fn is_good(&self) -> bool {
        let at_rest = |sides: &Sides| sides.missing == 0 && sides.extra == 0 && sides.entitled > 0;
        self.steps.last().is_some_and(|(_, sides)| sides.iter().all(at_rest))
    }

    /// The same as an object.
    pub(super) fn json(&self) -> Value {
        let step = |(title, sides): &(&str, Vec<Sides>)| {
            let nodes: Vec<Value> = sides
                .iter()
                .map(|s| {
                    json!({
                        "name": s.node, "entitled": s.entitled, "there": s.there, "missing": s.missing, "extra": s.extra,
                    })
                })
                .collect();
            json!({ "step": title, "nodes": nodes })
        };
        let runs: Vec<Value> = self.runs.iter().map(Run::json).collect();
        json!({ "steps": self.steps.iter().map(step).collect::<Vec<_>>(), "runs": runs })
    }
}

/// Shows it; without servers there is nothing to show.
///
/// # Errors
/// A pass or a server did not do its work.
pub(super) async fn show(
    session: &Session,
    stage: &Stage,
    client: &Client,
    programs: &Programs,
    nodes: &[Node<XrayNode>],
) -> Result<Option<Served>, Failure> {
    let Some(first) = nodes.first() else {
        stage.say("\nNo Xray server was given (--xray): the other passes are not shown. `make demo` brings two.\n")?;
        return Ok(None);
    };
    let mut served = Served { steps: Vec::new(), runs: Vec::new() };
    let empty = sides(session, nodes).await?;
    stage.heading("reconcile-xray: empty servers get everybody who has the right")?;
    served.runs.push(programs.run(stage, Pass::ReconcileXray)?);
    served.step(stage, "filled", sides(session, nodes).await?, &empty)?;

    stage.heading(
        "Ten customers cancel; notify-trials, expire-fast: what is over is ended, taken off and proven gone",
    )?;
    client.query_typed(CANCEL_TEN, &[]).await.map_err(|error| failed(&error))?;
    served.runs.push(programs.run(stage, Pass::NotifyTrials)?);
    served.runs.push(programs.run(stage, Pass::ExpireFast)?);
    served.step(stage, "ended", sides(session, nodes).await?, &empty)?;

    stage.heading("A drift: one user is taken off a server, an unknown one is put there")?;
    make_drift(session, client, first).await?;
    served.step(stage, "drifted", sides(session, nodes).await?, &empty)?;
    stage.heading("reconcile-xray: the missing one is back, the unknown one is watched")?;
    served.runs.push(programs.run(stage, Pass::ReconcileXray)?);
    client.execute_typed(PUT_CLOCK_BACK, &[]).await.map_err(|error| failed(&error))?;
    stage.say("\nThe demo puts the quarantine's clock back by 11 minutes, so that nobody has to wait.\n\n")?;
    served.runs.push(programs.run(stage, Pass::ReconcileXray)?);
    served.step(stage, "healed", sides(session, nodes).await?, &empty)?;
    Ok(Some(served))
}

impl Served {
    fn step(&mut self, stage: &Stage, title: &'static str, now: Vec<Sides>, empty: &[Sides]) -> Result<(), Failure> {
        let before = self.steps.last().map_or(empty, |(_, sides)| sides);
        let head = ["", "entitled", "there before", "there after", "missing", "to go"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(now.iter().zip(before).map(|(now, before)| {
            let numbers = [now.entitled, before.there, now.there, now.missing, now.extra].map(|n| n.to_string());
            std::iter::once(now.node.clone()).chain(numbers).collect()
        }));
        stage.say(&table(&rows, &[1, 2, 3, 4, 5]))?;
        self.steps.push((title, now));
        Ok(())
    }
}

async fn sides(session: &Session, nodes: &[Node<XrayNode>]) -> Result<Vec<Sides>, Failure> {
    let db = session.reader().await?;
    let deadline = Deadline::after(BUDGET);
    let owners = Owners::new(&session.config.owner_prefix, &session.config.protected_prefixes);
    let mut sides = Vec::new();
    for node in nodes {
        let xray = Bounded { xray: &node.xray, node: &node.name, deadline: &deadline };
        let bounded = Node { name: node.name.clone(), inbounds: node.inbounds.clone(), xray };
        let found = match compare(&db, &deadline, &bounded, &owners).await {
            Ok(found) => found,
            Err(Trouble::Database(error)) => return Err(error.into()),
            Err(Trouble::Node(error)) => return Err(Failure::unforeseen(error.to_string())),
            Err(Trouble::OutOfTime) => return Err(Failure::unforeseen(format!("{} is too slow", node.name))),
        };
        if let Some(error) = found.unlisted.values().next() {
            return Err(Failure::unforeseen(error.to_string()));
        }
        sides.push(Sides {
            node: node.name.clone(),
            entitled: found.entitled,
            there: found.listed,
            missing: found.missing.len() as u64,
            extra: found.extras.len() as u64,
        });
    }
    Ok(sides)
}

async fn make_drift(session: &Session, client: &Client, node: &Node<XrayNode>) -> Result<(), Failure> {
    let Some(inbound) = node.inbounds.first() else { return Ok(()) };
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), _); 1] =
        [(&vec![inbound.group.as_str()], tokio_postgres::types::Type::TEXT_ARRAY)];
    let rows = client.query_typed(FIND_ENTITLED, &parameters).await.map_err(|error| failed(&error))?;
    let troubled = |error: perennial_core::ports::XrayError| Failure::unforeseen(error.to_string());
    for row in &rows {
        node.xray.remove_user(&inbound.tag, row.get("email")).await.map_err(troubled)?;
    }
    let email = format!("{}{STRANGER}", session.config.owner_prefix);
    let user = XrayUser { email, uuid: Uuid::new_v4(), flow: inbound.flow.clone() };
    node.xray.add_user(&inbound.tag, &user).await.map_err(troubled)?;
    Ok(())
}
