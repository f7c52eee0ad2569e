//! `notices list|retry|drop`: what waits to be said, what was said, and what was given up.

use perennial_boot::Exit;
use perennial_core::db::admin::NoticeEntry;
use perennial_core::db::{Database, DbError, NewAudit, Tx};
use serde_json::{Value, json};

use crate::cli::{NoticesDrop, NoticesList, NoticesRetry};
use crate::failure::Failure;
use crate::output::{Answer, counted, exact, exact_json, mask_uuids, moment, table};
use crate::session::Session;

/// Notices changed in one transaction.
const BATCH: usize = 500;
/// No more than these are counted for a list.
const COUNTED: i64 = 100_000;

/// Lists notices of a state.
///
/// # Errors
/// The database's.
pub async fn list(session: &Session, call: NoticesList) -> Result<Answer, Failure> {
    known(call.kind.as_deref())?;
    let db = session.reader().await?;
    let (state, kind) = (call.state.name(), call.kind.as_deref());
    let before = call.before.unwrap_or(i64::MAX);
    let (entries, all) = db
        .run_tx("list_notices", async |tx| {
            let entries = tx.list_notices(state, kind, before, call.limit as usize).await?;
            Ok((entries, tx.count_notices(state, kind, COUNTED + 1).await?))
        })
        .await?;
    let is_cut = entries.len() == call.limit as usize;
    let next = entries.last().filter(|_| is_cut).map(|entry| entry.id);
    let json = json!({
        "state": state,
        "notices": entries.iter().map(as_json).collect::<Vec<_>>(),
        "count": (all <= COUNTED).then_some(all),
        "next_before": next,
    });
    if entries.is_empty() {
        return Ok(Answer::new(format!("no notice is {state}\n"), json));
    }
    let head = ["id", "user", "kind", "tries", "written", "when", "reason"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(entries.iter().map(row)).collect();
    let mut text = table(&rows, &[0, 1, 3]);
    if let Some(next) = next {
        let shown = entries.len();
        let all = match all {
            ..=COUNTED => counted(all.unsigned_abs(), "notice"),
            _ => format!("more than {COUNTED} notices"),
        };
        text.push_str(&format!("{shown} of {all} shown; --before {next} shows older ones\n"));
    }
    Ok(Answer::new(text, json))
}

/// Has dead notices tried again, from the first attempt on.
///
/// # Errors
/// The database's. What is not dead is named, with exit code 3.
pub async fn retry(session: &Session, call: NoticesRetry) -> Result<Answer, Failure> {
    known(call.kind.as_deref())?;
    let db = session.writer().await?;
    let act = async |tx: &Tx<'_>, ids: &[i64]| tx.retry_notices(ids).await;
    let change = Change { db: &db, action: "notice_retried", status: "pending", reason: None };
    let (changed, left) = if call.ids.is_empty() {
        change.all("dead", call.kind.as_deref(), act).await?
    } else {
        change.these(&call.ids, act).await?
    };
    Ok(answer(changed, &left, "waits to be sent again", "only what is dead can be retried"))
}

/// Drops waiting and dead notices.
///
/// # Errors
/// The database's. What is neither is named, with exit code 3.
pub async fn drop_some(session: &Session, call: NoticesDrop) -> Result<Answer, Failure> {
    known(call.kind.as_deref())?;
    let db = session.writer().await?;
    let act = async |tx: &Tx<'_>, ids: &[i64]| tx.drop_notices(ids, &call.reason).await;
    let change = Change { db: &db, action: "notice_dropped", status: "dropped", reason: Some(&call.reason) };
    let (mut changed, mut left) = (0, Vec::new());
    if !call.ids.is_empty() {
        (changed, left) = change.these(&call.ids, act).await?;
    } else {
        let both = ["pending", "dead"];
        for state in call.state.map_or(both.to_vec(), |state| vec![state.name()]) {
            let (more, still) = change.all(state, call.kind.as_deref(), act).await?;
            changed += more;
            left.extend(still);
        }
    }
    Ok(answer(changed, &left, "will not be sent", "only what is pending or dead can be dropped"))
}

/// Refuses a kind that there is not: a slip would find nothing and say that all is well.
fn known(kind: Option<&str>) -> Result<(), Failure> {
    match kind {
        Some(kind) if !perennial_texts::kinds().any(|known| known == kind) => {
            let kinds = perennial_texts::kinds().collect::<Vec<_>>().join(", ");
            Err(Failure::usage(format!("there is no kind of notice {kind}")).with_hint(kinds))
        }
        _ => Ok(()),
    }
}

/// A change of some notices by hand.
struct Change<'a> {
    db: &'a Database,
    action: &'static str,
    status: &'static str,
    reason: Option<&'a str>,
}

/// Who was left as it was: its id, and its state where there is such a notice.
type Left = (i64, Option<String>);

impl Change<'_> {
    /// Changes these; answers how many were, and who was not.
    async fn these(
        &self,
        ids: &[i64],
        act: impl AsyncFn(&Tx<'_>, &[i64]) -> Result<Vec<NoticeEntry>, DbError>,
    ) -> Result<(u64, Vec<Left>), Failure> {
        let (changed, found) = self
            .db
            .run_tx(self.action, async |tx| {
                let changed = self.change(tx, ids, &act).await?;
                Ok((changed, tx.find_notices(ids).await?))
            })
            .await?;
        let state = |id: i64| found.iter().find(|entry| entry.id == id).map(|entry| entry.status.clone());
        let left = ids.iter().filter(|id| !changed.contains(id)).map(|id| (*id, state(*id))).collect();
        Ok((changed.len() as u64, left))
    }

    /// Changes all of a state and perhaps a kind, a batch a transaction. Those that somebody holds are left.
    async fn all(
        &self,
        state: &str,
        kind: Option<&str>,
        act: impl AsyncFn(&Tx<'_>, &[i64]) -> Result<Vec<NoticeEntry>, DbError>,
    ) -> Result<(u64, Vec<Left>), Failure> {
        let (mut count, mut left, mut before) = (0, Vec::new(), i64::MAX);
        loop {
            let (listed, changed) = self
                .db
                .run_tx(self.action, async |tx| {
                    let listed = tx.list_notices(state, kind, before, BATCH).await?;
                    let ids: Vec<i64> = listed.iter().map(|entry| entry.id).collect();
                    Ok((ids.clone(), self.change(tx, &ids, &act).await?))
                })
                .await?;
            count += changed.len() as u64;
            left.extend(listed.iter().filter(|id| !changed.contains(id)).map(|id| (*id, Some("held".to_owned()))));
            match listed.last() {
                Some(last) if listed.len() == BATCH => before = *last,
                _ => return Ok((count, left)),
            }
        }
    }

    /// Changes what can be, with its audit rows; answers the ids of what was.
    async fn change(
        &self,
        tx: &Tx<'_>,
        ids: &[i64],
        act: &impl AsyncFn(&Tx<'_>, &[i64]) -> Result<Vec<NoticeEntry>, DbError>,
    ) -> Result<Vec<i64>, DbError> {
        let were = act(tx, ids).await?;
        let audit: Vec<NewAudit> = were.iter().map(|was| self.audit(was)).collect();
        tx.insert_audit(&audit).await?;
        Ok(were.iter().map(|was| was.id).collect())
    }

    fn audit(&self, was: &NoticeEntry) -> NewAudit {
        NewAudit {
            action: self.action,
            telegram_id: Some(was.telegram_id),
            subscription_id: was.subscription_id,
            before: Some(json!({ "status": was.status, "attempts": was.attempts, "error": was.reason })),
            after: Some(json!({ "notice_id": was.id, "kind": was.kind, "status": self.status })),
            reason: self.reason.map(str::to_owned),
        }
    }
}

fn answer(changed: u64, left: &[Left], what: &str, rule: &str) -> Answer {
    let plural = if changed == 1 { what.to_owned() } else { what.replacen("waits", "wait", 1) };
    let mut text = match (changed, left) {
        (0, []) => "there is no such notice\n".to_owned(),
        _ => format!("{} {plural}\n", counted(changed, "notice")),
    };
    for (id, state) in left {
        let why = match state.as_deref() {
            None => "there is no such notice".to_owned(),
            Some("held" | "sending") => "it is being sent just now; try again".to_owned(),
            Some(state) => format!("it is {state}; {rule}"),
        };
        text.push_str(&format!("notice {id} is left as it was: {why}\n"));
    }
    let left: Vec<Value> = left.iter().map(|(id, state)| json!({ "id": id, "state": state })).collect();
    let exit = if left.is_empty() { Exit::Done } else { Exit::Partial };
    Answer { exit, ..Answer::new(text, json!({ "changed": changed, "left": left })) }
}

fn row(entry: &NoticeEntry) -> Vec<String> {
    let when = match entry.status.as_str() {
        "pending" => format!("due {}", moment(entry.not_before)),
        _ => entry.sent_at.map_or_else(String::new, |at| format!("sent {}", moment(at))),
    };
    vec![
        entry.id.to_string(),
        entry.telegram_id.to_string(),
        entry.kind.clone(),
        entry.attempts.to_string(),
        moment(entry.created_at),
        when,
        entry.reason.as_deref().map(mask_uuids).unwrap_or_default(),
    ]
}

fn as_json(entry: &NoticeEntry) -> Value {
    json!({
        "id": entry.id,
        "telegram_id": entry.telegram_id.0,
        "kind": entry.kind,
        "subscription_id": entry.subscription_id.map(|id| id.0),
        "state": entry.status,
        "attempts": entry.attempts,
        "reason": entry.reason.as_deref().map(mask_uuids),
        "written_at": exact(entry.created_at),
        "due_at": exact(entry.not_before),
        "sent_at": exact_json(entry.sent_at),
    })
}
