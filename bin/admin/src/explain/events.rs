//! What happened, an event a line, in the order of time.

use perennial_core::db::admin::{
    AuditEntry, HistoricCredential, HistoricNotice, HistoricPayment, HistoricTransfer, History,
};
use perennial_core::money::Kopecks;
use perennial_core::time::Timestamp;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::output::{mask_uuids, masked, moment, rubles};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To what: `transfer 17`.
    pub subject: String,
    /// What.
    pub what: String,
    /// Of events of one moment, that of the lower rank comes first: what is paid with, then what is paid for.
    rank: (u8, i64),
}

/// All events of a history, oldest first.
#[must_use]
pub fn events(history: &History) -> Vec<Event> {
    let who = &history.customer;
    let mut all =
        vec![Event { at: who.created_at, subject: "user".to_owned(), what: "first seen".to_owned(), rank: (0, 0) }];
    if let Some(at) = who.unreachable_since {
        all.push(Event {
            at,
            subject: "user".to_owned(),
            what: "cannot be reached on Telegram".to_owned(),
            rank: (9, 0),
        });
    }
    all.extend(history.credentials.iter().flat_map(credential));
    all.extend(history.removals.iter().map(|removal| Event {
        at: removal.proven_at,
        subject: format!("credential {}", removal.credential),
        what: format!("proven gone from {}", mask_uuids(&removal.node)),
        rank: (6, removal.credential.0),
    }));
    all.extend(history.transfers.iter().map(transfer));
    all.extend(history.payments.iter().flat_map(payment));
    all.extend(history.audit.iter().map(audit));
    all.extend(history.notices.iter().flat_map(notice));
    all.extend(history.parked.iter().filter(|entry| entry.tries > 0).map(|entry| Event {
        at: entry.last_failed_at,
        subject: format!("subscription {}", entry.subscription_id),
        what: format!("{} failed on it: {}", entry.pass, mask_uuids(&entry.reason)),
        rank: (7, entry.subscription_id.0),
    }));
    all.sort_by_key(|event| (event.at, event.rank));
    all
}

fn credential(row: &HistoricCredential) -> Vec<Event> {
    let event = |at: Option<Timestamp>, what: String, rank| {
        at.map(|at| Event { at, subject: format!("credential {}", row.id), what, rank: (rank, row.id.0) })
    };
    let opened = format!("opened: {} {} in group {}", row.email, masked(row.uuid), row.access_group);
    [
        event(Some(row.created_at), opened, 1),
        event(row.closed_at, "closed: to be removed from every server".to_owned(), 5),
        event(row.retired_at, "retired: gone from every server".to_owned(), 7),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn transfer(row: &HistoricTransfer) -> Event {
    let sign = if row.moved > Kopecks::ZERO { "+" } else { "" };
    let of = row.reverses.map(|id| format!(" of transfer {id}")).unwrap_or_default();
    let what = format!("{}{of} {sign}{}, the wallet holds {}", row.kind, rubles(row.moved), rubles(row.balance));
    Event {
        at: row.created_at,
        subject: format!("transfer {}", row.id),
        what: format!("{what} ({})", mask_uuids(&row.key)),
        rank: (2, row.id.0),
    }
}

fn payment(row: &HistoricPayment) -> Vec<Event> {
    let subject = || format!("payment {}", row.id);
    let by = row.transfer_id.map(|id| format!(" by transfer {id}")).unwrap_or_default();
    let paid = Event {
        at: row.created_at,
        subject: subject(),
        what: format!(
            "{}{by} for {}, subscription {}, {} to {}",
            rubles(row.amount),
            row.tariff,
            row.subscription_id,
            moment(row.period_start),
            moment(row.period_end)
        ),
        rank: (3, row.id),
    };
    let voided =
        row.voided_at.map(|at| Event { at, subject: subject(), what: "taken back".to_owned(), rank: (3, row.id) });
    [Some(paid), voided].into_iter().flatten().collect()
}

fn audit(row: &AuditEntry) -> Event {
    let subject = row.subscription_id.map_or_else(|| "user".to_owned(), |id| format!("subscription {id}"));
    let run = row.run_id.map(|run| format!(" (run {})", beginning(&run.to_string()))).unwrap_or_default();
    let change = difference(row.before.as_ref(), row.after.as_ref());
    let change = if change.is_empty() { String::new() } else { format!(": {change}") };
    let reason = row.reason.as_ref().map(|reason| format!("; {}", mask_uuids(reason))).unwrap_or_default();
    Event {
        at: row.at,
        subject,
        what: format!("{} by {}{run}{change}{reason}", row.action, row.actor),
        rank: (4, row.id),
    }
}

/// The time in a run's id: enough to find its row and its log lines.
fn beginning(run: &str) -> String {
    format!("{}…", run.get(..13).unwrap_or_default())
}

/// `price 100 → 200, sold yes`: what is other or new in `after`; of what was deleted, what it was.
fn difference(before: Option<&Value>, after: Option<&Value>) -> String {
    let members = |state: Option<&Value>| state.and_then(Value::as_object).cloned().unwrap_or_default();
    let (old, new) = (members(before), members(after));
    if new.is_empty() {
        let was: Vec<String> = old.iter().map(|(name, value)| format!("{name} was {}", shown(value))).collect();
        return was.join(", ");
    }
    // What is null and was not there before is no news.
    let changed = new.iter().filter(|(name, value)| old.get(*name).unwrap_or(&Value::Null) != *value);
    let said = changed.map(|(name, value)| match old.get(name) {
        Some(was) => format!("{name} {} → {}", shown(was), shown(value)),
        None => format!("{name} {}", shown(value)),
    });
    said.collect::<Vec<_>>().join(", ")
}

fn shown(value: &Value) -> String {
    let Some(text) = value.as_str() else { return mask_uuids(&value.to_string()) };
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(at) => moment(at),
        Err(_) => mask_uuids(text),
    }
}

fn notice(row: &HistoricNotice) -> Vec<Event> {
    let about = row.subscription_id.map(|id| format!(" about subscription {id}")).unwrap_or_default();
    let subject = || format!("notice {}", row.id);
    let error = row.last_error.as_ref().map(|error| format!(": {}", mask_uuids(error))).unwrap_or_default();
    let until = row.useless_after.map(|at| format!(", not after {}", moment(at))).unwrap_or_default();
    let state = match row.status.as_str() {
        "sent" => String::new(),
        "pending" => {
            format!("; waiting to be sent since {}{until}, {} tries{error}", moment(row.not_before), row.attempts)
        }
        "sending" => "; being sent".to_owned(),
        "dropped" if error.is_empty() => "; dropped, it had become useless".to_owned(),
        "dropped" => format!("; dropped{error}"),
        _ => format!("; given up after {} tries{error}", row.attempts),
    };
    let written = Event {
        at: row.created_at,
        subject: subject(),
        what: format!("{}{about} written{state}", row.kind),
        rank: (8, row.id),
    };
    let sent =
        row.sent_at.map(|at| Event { at, subject: subject(), what: format!("{} sent", row.kind), rank: (8, row.id) });
    [Some(written), sent].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_told_by_what_is_other() {
        let before = json!({ "price": 100, "sold": true, "group": "basic" });
        let after = json!({ "price": 200, "sold": true, "code": "x" });
        assert_eq!(difference(Some(&before), Some(&after)), "code x, price 100 → 200");
        assert_eq!(difference(None, Some(&json!({ "vip": true, "discount": null }))), "vip true");
        let ends = json!({ "ends": "2026-01-01T12:00:00.5+00:00" });
        assert_eq!(difference(None, Some(&ends)), "ends 2026-01-01T12:00:00Z");
        assert_eq!(difference(Some(&json!({ "tries": 3 })), None), "tries was 3");
        assert_eq!(difference(None, None), "");
        let secret = json!({ "uuid": "3f2a7c1e-0b5d-4e6f-8a9b-0c1d2e3f4a5b" });
        assert_eq!(difference(None, Some(&secret)), "uuid 3f2a…");
    }
}
