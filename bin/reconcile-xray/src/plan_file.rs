//! The plan file: what `--plan` writes and `--apply` does.
//!
//! It holds no UUIDs. Its digest covers everything in it, so that a plan that was cut short or edited is not done by
//! half. It is good for an hour, on the database it was made from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use perennial_boot::put_whole;
use perennial_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::brakes::Brake;

/// The form of the file.
const FORMAT: u32 = 1;
/// Older plans are refused.
pub const MOST_AGE: Duration = Duration::from_secs(3_600);

/// What is to be done with a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Put it there.
    Add,
    /// Take it off.
    Remove,
    /// Take it off and put it there anew.
    Replace,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Tag of the inbound.
    pub inbound: String,
    /// Whom.
    pub email: String,
    /// What the database knows of it.
    pub credential: Option<i64>,
    /// What.
    pub action: Action,
    /// Why: `missing`, `closed`, `unknown`, `unused`, `other_group`, `wrong_uuid`, `wrong_flow`, `shared_uuid`.
    pub reason: String,
}

/// Why one that is as it should be is replaced all the same: another one with its UUID goes. It follows from that one.
pub const SHARED_UUID: &str = "shared_uuid";

/// What is to be done on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedNode {
    /// Its name.
    pub name: String,
    /// Users listed.
    pub listed: u64,
    /// Brakes that would stop the removals of a pass.
    pub brakes: Vec<Brake>,
    /// All of it, by inbound and e-mail: additions first.
    pub items: Vec<Item>,
}

/// A whole plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    format: u32,
    /// Identifier of the cluster, and name of the database in it.
    pub database: String,
    /// By the database's clock.
    created_at: String,
    /// The nodes that could be compared.
    pub nodes: Vec<PlannedNode>,
    /// Of all of the above.
    digest: String,
}

impl PlanFile {
    /// A plan made now.
    #[must_use]
    pub fn new(database: String, now: Timestamp, nodes: Vec<PlannedNode>) -> Self {
        // Years from 0 to 9999: the database gives no others.
        let created_at = now.format(&Rfc3339).unwrap_or_default();
        let mut plan = Self { format: FORMAT, database, created_at, nodes, digest: String::new() };
        plan.digest = plan.digest_of_the_rest();
        plan
    }

    /// Writes it, in the place of one before it, readable by its owner alone.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        put_whole(file, |beside| self.write_to(beside))
    }

    fn write_to(&self, file: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
        let mut out = io::BufWriter::new(file);
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    /// Reads one back.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn read(file: &Path) -> Result<Self, String> {
        Self::parse(&fs::read_to_string(file).map_err(|error| format!("cannot be read ({error})"))?)
    }

    /// Reads the text of one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = serde_json::from_str(text).map_err(|error| format!("is no plan ({error})"))?;
        if plan.format != FORMAT {
            return Err(format!("is a plan of form {}, this program knows {FORMAT}", plan.format));
        }
        if plan.digest != plan.digest_of_the_rest() {
            return Err("was changed after it was made: its digest does not fit".to_owned());
        }
        plan.created_at().map_err(|error| format!("is no plan (created_at: {error})"))?;
        Ok(plan)
    }

    /// Why it may not be applied now and here, if so.
    #[must_use]
    pub fn refusal(&self, database: &str, now: Timestamp) -> Option<String> {
        if self.database != database {
            return Some(format!("the plan was made from database {}, this is {database}", self.database));
        }
        let Ok(created_at) = self.created_at() else { return Some("the plan does not say when it was made".into()) };
        if created_at > now {
            return Some(format!("the plan was made in the future, at {}", self.created_at));
        }
        let age = (now - created_at).whole_minutes();
        (now - created_at > MOST_AGE).then(|| format!("the plan is {age} minutes old, made at {}", self.created_at))
    }

    /// The part of a node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&PlannedNode> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// How many things are to be done.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| node.items.len()).sum()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn created_at(&self) -> Result<Timestamp, time::error::Parse> {
        OffsetDateTime::parse(&self.created_at, &Rfc3339)
    }

    fn digest_of_the_rest(&self) -> String {
        struct Sink(Context);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.update(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut sink = Sink(Context::new(&SHA256));
        // Strings and numbers into a sink that takes everything: nothing in it can fail.
        drop(serde_json::to_writer(&mut sink, &(self.format, &self.database, &self.created_at, &self.nodes)));
        crate::hash::hex(sink.0.finish().as_ref())
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
        })
    }
}

#[cfg(test)]
mod tests;
