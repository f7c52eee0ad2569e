//! `status`: how the service is doing, on one screen, as one object, or as one page for a browser.
//!
//! Rows are read in short transactions, each an index range or bounded ([`read`]); a pure function makes the model of
//! them ([`model`]), decides what needs a person ([`attention`]), and the forms say the same model: [`text`], [`json`].
//! Nothing is written, so a copied database may be looked at, too.

mod attention;
mod json;
mod model;
mod read;
mod text;

use crate::cli;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::Session;

pub use model::{Node, Pass, Run, Status, Today, Work};
pub use read::{Lines, Read};

/// Runs the command.
///
/// # Errors
/// 69 and 78 as everywhere; 78 also for a default time zone that PostgreSQL does not know.
pub async fn run(session: &Session, _call: cli::Status) -> Result<Answer, Failure> {
    let db = session.reader().await?;
    let read = Read::now(&db, &Lines::of(&session.config)).await?;
    let status = Status::of(&read);
    Ok(Answer::new(status.text(), status.json()))
}

impl Status {
    /// One screen for a person.
    #[must_use]
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// The same as an object.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json::json(self)
    }
}
