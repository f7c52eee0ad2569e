//! `installation show` and `accept`: which database of which cluster this is, and which one may act.

use perennial_core::db::{Installation, NewAudit};
use perennial_core::operator::command;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Answer;
use crate::session::Session;

/// Shows it.
///
/// # Errors
/// The database's.
pub async fn show(session: &Session) -> Result<Answer, Failure> {
    let db = session.reader().await?;
    let (schema, installation) =
        db.run_tx("show_installation", async |tx| Ok((tx.schema_version().await?, tx.installation().await?))).await?;
    let verdict = match &installation {
        found if found.accepted_identifier.is_none() => format!("not recorded yet: {} does it", command("migrate")),
        found => match found.copied_from() {
            Some(origin) => {
                let accept = command("installation accept");
                format!("a copy from {origin}: nothing may act on it until {accept}")
            }
            None => "this database may act".to_owned(),
        },
    };
    let text = format!(
        "schema version     {}\nowner prefix       {}\nthis cluster       {}\naccepted cluster   {}\n\
         this database      {}\naccepted database  {}\n{verdict}\n",
        schema.unwrap_or_default(),
        installation.owner_prefix,
        installation.system_identifier,
        or_none(installation.accepted_identifier),
        installation.database_oid,
        or_none(installation.accepted_oid),
    );
    let mut json = as_json(&installation);
    json["schema_version"] = json!(schema);
    json["is_a_copy"] = json!(installation.is_a_copy());
    Ok(Answer::new(text, json))
}

/// Lets this database act.
///
/// # Errors
/// The database's.
pub async fn accept(session: &Session) -> Result<Answer, Failure> {
    let db = session.reader().await?;
    let (before, after) = db
        .run_tx("accept_installation", async |tx| {
            let before = tx.installation().await?;
            if before.is_accepted() {
                return Ok((before.clone(), before));
            }
            tx.accept_installation(None).await?;
            let after = tx.installation().await?;
            tx.insert_audit(&[NewAudit {
                action: "installation_accepted",
                telegram_id: None,
                subscription_id: None,
                before: Some(as_json(&before)),
                after: Some(as_json(&after)),
                reason: None,
            }])
            .await?;
            Ok((before, after))
        })
        .await?;
    let text = if before == after {
        "this database was accepted already, nothing was changed\n".to_owned()
    } else {
        format!(
            "database {} of cluster {} may act from now on, with owner prefix {}; stop the passes of the original\n",
            after.database_oid, after.system_identifier, after.owner_prefix
        )
    };
    let mut json = as_json(&after);
    json["changed"] = json!(before != after);
    Ok(Answer::new(text, json))
}

fn or_none(id: Option<impl ToString>) -> String {
    id.map_or_else(|| "none".to_owned(), |id| id.to_string())
}

fn as_json(installation: &Installation) -> Value {
    json!({
        // As text: the number is larger than what many JSON readers keep.
        "system_identifier": installation.system_identifier.to_string(),
        "accepted_identifier": installation.accepted_identifier.map(|id| id.to_string()),
        "database_oid": installation.database_oid,
        "accepted_oid": installation.accepted_oid,
        "owner_prefix": installation.owner_prefix,
    })
}
