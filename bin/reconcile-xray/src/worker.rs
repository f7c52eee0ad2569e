//! One node's part of the pass: compare, watch, look at the brakes, act.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::lock::Mutex;

use perennial_core::db::{CredentialState, Database, DbError};
use perennial_core::ids::CredentialId;
use perennial_core::node::{Node, Trouble};
use perennial_core::ports::{Bounded, InboundTag, Lost, Xray, XrayError};
use perennial_core::reconcile::{Comparison, Why, compare};
use perennial_core::time::Deadline;

use crate::brakes::{Facts, brakes};
use crate::examined::Examined;
use crate::quarantine::Fate;
use crate::summary::NodeSummary;
use crate::{Effect, Settings};

/// One node's part.
pub(crate) struct Worker<'a, X> {
    pub(crate) db: &'a Database,
    pub(crate) deadline: &'a Deadline,
    pub(crate) settings: &'a Settings<'a>,
    pub(crate) node: &'a Node<Bounded<'a, X>>,
    /// Held by who retires credentials: two nodes must not skip each other's.
    pub(crate) retiring: &'a Mutex<()>,
    pub(crate) summary: NodeSummary,
    /// Inbounds that cannot be worked on, and why.
    pub(crate) unusable: RefCell<BTreeMap<&'a InboundTag, XrayError>>,
    /// Calls without an answer.
    pub(crate) lost: RefCell<Lost>,
    /// Why nothing could be retired, where that may be everybody's trouble.
    pub(crate) doubt: Option<DbError>,
}

impl<'a, X: Xray> Worker<'a, X> {
    pub(crate) fn new(
        db: &'a Database,
        deadline: &'a Deadline,
        settings: &'a Settings<'a>,
        node: &'a Node<Bounded<'a, X>>,
        retiring: &'a Mutex<()>,
    ) -> Self {
        let summary = NodeSummary { name: node.name.clone(), ..NodeSummary::default() };
        let (unusable, lost) = (RefCell::default(), RefCell::default());
        Self { db, deadline, settings, node, retiring, summary, unusable, lost, doubt: None }
    }

    /// Nothing may be written, here or there.
    pub(crate) fn only_looks(&self) -> bool {
        self.db.is_dry_run() || self.settings.effect == Effect::Plan
    }

    /// Lists, compares, keeps the quarantine and looks at the brakes. Changes nothing on the server.
    pub(crate) async fn examine(&mut self) -> Result<Examined, Trouble> {
        let comparison = compare(self.db, self.deadline, self.node, &self.settings.owners).await?;
        self.summary.reachable = true;
        for (number, error) in &comparison.unlisted {
            self.give_up(self.inbound(*number).0, error);
        }
        self.count_compared(&comparison);
        let name = &self.node.name;
        let memory = self.db.run_tx("node_memory", async |tx| tx.node_memory(name).await).await?;
        let mut examined = Examined::new(comparison);
        for fate in self.watch_extras(&mut examined, &memory).await? {
            match fate {
                Fate::Adopted => self.summary.adopted += 1,
                Fate::Waiting => self.summary.quarantined += 1,
                Fate::Ripe => {}
            }
        }
        let comparison = &examined.comparison;
        let facts = Facts {
            removals: (examined.going.len() + comparison.misfits.len()) as u64,
            listed: comparison.listed,
            last_listed: memory.last_list_size.map(i64::unsigned_abs),
            entitled: comparison.entitled,
            ours: comparison.ours,
            own_listed: comparison.own_listed,
            own_known: comparison.own_known,
            knows_anybody: comparison.knows_anybody,
        };
        examined.brakes = brakes(&facts, &self.settings.limits);
        self.summary.refused_because = examined.refusal();
        Ok(examined)
    }

    fn count_compared(&mut self, comparison: &Comparison) {
        let summary = &mut self.summary;
        summary.listed = comparison.listed;
        summary.entitled = comparison.entitled;
        summary.missing = comparison.missing.len() as u64;
        summary.protected = comparison.protected;
        summary.foreign = comparison.foreign;
        summary.shared_uuid = comparison.sharing;
    }

    /// Takes over how the work ended. Only the database's trouble is everybody's.
    pub(crate) fn settle(&mut self, outcome: Result<(), Trouble>) -> Result<(), DbError> {
        let name = self.node.name.as_str();
        let of_inbounds: Vec<String> = self.unusable.borrow().values().map(ToString::to_string).collect();
        self.summary.error = (!of_inbounds.is_empty()).then(|| of_inbounds.join("; "));
        match outcome {
            Ok(()) => Ok(()),
            Err(Trouble::OutOfTime) => {
                self.summary.cut_short = true;
                Ok(())
            }
            Err(Trouble::Node(XrayError::Unknown { .. })) if self.deadline.was_stopped() => {
                self.summary.cut_short = true;
                Ok(())
            }
            Err(Trouble::Node(error)) => {
                log::warn!(node = name, error:% = error; "a node cannot be worked on");
                // Who refuses has answered.
                self.summary.reachable |= matches!(error, XrayError::Misconfigured { .. } | XrayError::Refused { .. });
                self.summary.error = Some(error.to_string());
                Ok(())
            }
            Err(Trouble::Database(error)) if error.is_timeout() && !self.deadline.is_over() => {
                log::warn!(node = name, error:% = error; "a node's work was given up: the database was too slow");
                self.summary.error = Some(error.to_string());
                Ok(())
            }
            Err(Trouble::Database(error)) => Err(error),
        }
    }

    pub(crate) fn must_have_time(&self) -> Result<(), Trouble> {
        if self.deadline.is_over() { Err(Trouble::OutOfTime) } else { Ok(()) }
    }

    /// Asks the database for credentials.
    pub(crate) async fn credentials(
        &self,
        ids: impl IntoIterator<Item = CredentialId>,
    ) -> Result<HashMap<CredentialId, CredentialState>, Trouble> {
        let mut ids: Vec<CredentialId> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.db.run_tx("credentials_by_id", async |tx| tx.credentials_by_id(&ids).await).await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }

    /// Tag and flow of one of the node's inbounds.
    pub(crate) fn inbound(&self, number: u16) -> (&'a InboundTag, &'a str) {
        let inbound = &self.node.inbounds[usize::from(number)];
        (&inbound.tag, &inbound.flow)
    }

    pub(crate) fn grace(&self) -> Duration {
        self.settings.orphan_grace
    }
}

/// Keeps of the extras those that may go now.
pub(crate) fn may_go(why: Why, fate: Option<Fate>) -> bool {
    match why {
        Why::Closed => true,
        Why::Watched(_) => fate == Some(Fate::Ripe),
    }
}
