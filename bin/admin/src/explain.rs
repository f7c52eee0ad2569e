//! `explain`: all that happened to one user, in the order of time, and why his subscriptions renew or do not.
//!
//! Secrets are masked: of a UUID only its beginning is shown, wherever it stands.

mod events;
mod prospect;
mod state;

use std::time::Duration;

use perennial_core::db::Database;
use perennial_core::db::admin::History;
use perennial_core::ids::TelegramId;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Answer, exact, moment};
use crate::session::Session;
use crate::{cli, unknown, writes_down};

pub use events::{Event, events};

/// Runs the command.
///
/// # Errors
/// Exit code 3 for an unknown user.
pub async fn run(session: &Session, call: cli::Explain) -> Result<Answer, Failure> {
    let db = session.reader().await?;
    let window = session.config.renew.window().duration();
    explain(&db, TelegramId(call.telegram_id), call.limit, window).await
}

/// Tells the story of a user, from at most `limit` rows of each kind; `window` is how long before its end `renew`
/// charges a subscription.
///
/// # Errors
/// Exit code 3 for an unknown user.
pub async fn explain(db: &Database, user: TelegramId, limit: u32, window: Duration) -> Result<Answer, Failure> {
    let history = db.run_tx("explain", async |tx| tx.find_history(user, limit.into()).await).await?;
    let history = history.ok_or_else(|| unknown(&format!("user {user}"), &writes_down()))?;
    let events = events(&history);
    Ok(Answer::new(text(&history, &events, window), json(&history, &events, window)))
}

fn text(history: &History, events: &[Event], window: Duration) -> String {
    let mut text = state::text(history, window);
    text.push_str("\nHistory\n");
    if history.cut {
        text.push_str("  older rows are left out; --limit shows more of them\n");
    }
    let width = events.iter().map(|event| event.subject.len()).max().unwrap_or_default();
    for Event { at, subject, what, .. } in events {
        text.push_str(&format!("  {}  {subject:<width$}  {what}\n", moment(*at)));
    }
    text
}

fn json(history: &History, events: &[Event], window: Duration) -> serde_json::Value {
    let mut json = state::json(history, window);
    let events =
        events.iter().map(|event| json!({ "at": exact(event.at), "subject": event.subject, "what": event.what }));
    json["history"] = events.collect();
    json["history_is_cut"] = json!(history.cut);
    json
}
