//! `status`: how the service is doing, on one screen, as one object, and as one page for a browser.
//!
//! Rows are read in short transactions, each an index range or bounded ([`read`]); a pure function makes the model of
//! them ([`model`]), decides what needs a person ([`attention`]), and the forms say the same model: [`text`], [`json`], [`html`].
//! Nothing is written, so a copied database may be looked at, too.

mod attention;
mod history;
mod html;
mod json;
mod model;
mod read;
mod text;

use perennial_boot::put_whole;

use crate::cli;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::Session;

pub use history::{Day, Done, History};
pub use model::{Node, PassState, Run, Status, Today, Work};
pub use read::{Lines, Read};

/// Runs the command.
///
/// # Errors
/// 69 and 78 as everywhere; 78 also for a default time zone that PostgreSQL does not know.
pub async fn run(session: &Session, call: cli::Status) -> Result<Answer, Failure> {
    let db = session.reader_of(read::CONNECTIONS).await?;
    let lines = Lines::of(&session.config);
    let history = async {
        match call.html {
            Some(_) => History::now(&db, &lines.zone, call.days).await.map(Some),
            None => Ok(None),
        }
    };
    let (read, history) = tokio::try_join!(Read::now(&db, &lines), history)?;
    let status = Status::of(&read);
    let (mut text, mut json) = (status.text(), status.json());
    if let (Some(file), Some(history)) = (&call.html, history) {
        put_whole(file, |beside| std::fs::write(beside, status.page(&history))).map_err(|error| {
            Failure::refused(format!("{} cannot be written: {error}", file.display()))
                .with_hint("name a file in a folder that exists")
        })?;
        text = format!("{} is written\n", file.display());
        json["html"] = file.display().to_string().into();
    }
    Ok(Answer::new(text, json))
}

impl Status {
    /// One screen for a person.
    #[must_use]
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// One page for a browser, with what happened on some days.
    #[must_use]
    pub fn page(&self, history: &History) -> String {
        html::page(self, history)
    }

    /// The same as an object.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json::json(self)
    }
}
