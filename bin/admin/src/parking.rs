//! `park`, `unpark`, `parked`: rows that one pass leaves alone.

use perennial_core::db::NewAudit;
use perennial_core::db::admin::ParkedEntry;
use perennial_core::ids::SubscriptionId;
use perennial_core::operator;
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::output::{Answer, counted, exact, exact_json, moment, table};
use crate::session::Session;
use crate::{lists_subscriptions, unknown};

/// Parks a subscription for one pass.
///
/// # Errors
/// Refused: unknown subscription.
pub async fn park(session: &Session, call: cli::Park) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let (pass, id) = (call.pass.name(), SubscriptionId(call.subscription_id));
    let owner = db
        .run_tx("park", async |tx| {
            let Some(owner) = tx.find_owner(id).await? else { return Ok(None) };
            tx.park(pass, id, &call.reason).await?;
            tx.insert_audit(&[NewAudit {
                action: "parked",
                telegram_id: Some(owner.telegram_id),
                subscription_id: Some(id),
                before: None,
                after: Some(json!({ "pass": pass })),
                reason: Some(call.reason.clone()),
            }])
            .await?;
            Ok(Some(owner))
        })
        .await?
        .ok_or_else(|| unknown(&format!("subscription {id}"), &lists_subscriptions()))?;
    let over = if owner.status == "active" { "" } else { "; it is over anyway" };
    Ok(Answer::new(
        format!(
            "{pass} leaves subscription {id} of user {} alone until {}{over}\n",
            owner.telegram_id,
            operator::command("unpark")
        ),
        json!({ "pass": pass, "subscription_id": id.0, "telegram_id": owner.telegram_id.0, "reason": call.reason }),
    ))
}

/// Lets a pass try a subscription again, with its failed tries forgotten.
///
/// # Errors
/// Refused: it was not parked.
pub async fn unpark(session: &Session, call: cli::Unpark) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let (pass, id) = (call.pass.name(), SubscriptionId(call.subscription_id));
    let released = db
        .run_tx("unpark", async |tx| {
            let Some(was) = tx.unpark(pass, id).await? else { return Ok(None) };
            tx.insert_audit(&[NewAudit {
                action: "unparked",
                telegram_id: was.telegram_id,
                subscription_id: Some(id),
                before: Some(as_json(&was)),
                after: None,
                reason: None,
            }])
            .await?;
            Ok(Some(was))
        })
        .await?;
    let was = released.ok_or_else(|| {
        Failure::refused(format!("subscription {id} is not parked for {pass}"))
            .with_hint(format!("{} lists what is", operator::command("parked")))
    })?;
    Ok(Answer::new(
        format!("{pass} tries subscription {id} again; it was parked since {}: {}\n", moment(was.since), was.reason),
        json!({ "pass": pass, "subscription_id": id.0, "was": as_json(&was) }),
    ))
}

/// Lists what is parked.
///
/// # Errors
/// The database's.
pub async fn list(session: &Session, call: cli::Parked) -> Result<Answer, Failure> {
    let db = session.reader().await?;
    let (entries, all) = db
        .run_tx("list_parked", async |tx| {
            Ok((tx.list_parked(call.all, call.limit.into()).await?, tx.count_parked(call.all).await?))
        })
        .await?;
    let json = json!({ "parked": entries.iter().map(as_json).collect::<Vec<_>>(), "count": all });
    if entries.is_empty() {
        return Ok(Answer::new("nothing is parked\n", json));
    }
    let mut rows = vec![["pass", "subscription", "user", "tries", "since", "reason"].map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(row));
    let mut text = table(&rows, &[1, 2, 3]);
    let shown = entries.len() as u64;
    if all.unsigned_abs() > shown {
        text.push_str(&format!("{shown} of {} shown; --limit shows more\n", counted(all.unsigned_abs(), "row")));
    }
    Ok(Answer::new(text, json))
}

fn row(entry: &ParkedEntry) -> Vec<String> {
    let counted = entry.next_try_at.map_or("", |_| " (still tried)");
    vec![
        entry.pass.clone(),
        entry.subscription_id.to_string(),
        entry.telegram_id.map_or_else(|| "?".to_owned(), |id| id.to_string()),
        if entry.tries == 0 { "by hand".to_owned() } else { entry.tries.to_string() },
        moment(entry.since),
        format!("{}{counted}", entry.reason),
    ]
}

/// An entry as it stands in answers and audit rows.
#[must_use]
pub fn as_json(entry: &ParkedEntry) -> Value {
    json!({
        "pass": entry.pass,
        "subscription_id": entry.subscription_id.0,
        "telegram_id": entry.telegram_id.map(|id| id.0),
        "tries": entry.tries,
        "reason": entry.reason,
        "since": exact(entry.since),
        "last_failed_at": exact(entry.last_failed_at),
        "next_try_at": exact_json(entry.next_try_at),
    })
}
