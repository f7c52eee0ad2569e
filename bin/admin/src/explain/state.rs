//! How things stand with a user now.

use std::time::Duration;

use perennial_core::db::admin::{HistoricCredential, HistoricSubscription, History};
use serde_json::{Value, json};

use super::prospect::{Circumstances, prospect};
use crate::output::{exact, exact_json, mask_uuids, masked, moment, rubles};
use crate::{parking, terms};

pub(super) fn text(history: &History, window: Duration) -> String {
    let who = &history.customer;
    let said = |value: &Option<String>, otherwise: &str| value.clone().unwrap_or_else(|| otherwise.to_owned());
    let mut text = format!(
        "User {}  since {}, language {}, time zone {}\n",
        who.telegram_id,
        moment(who.created_at),
        said(&who.language, "not known"),
        said(&who.time_zone, "not known"),
    );
    let mut price = vec![if who.vip { "VIP price".to_owned() } else { "no VIP price".to_owned() }];
    price.push(match who.discount {
        Some(discount) if discount.ends_at.is_some_and(|end| end <= history.read_at) => {
            format!("{} (over)", terms::in_words(who.discount))
        }
        discount => terms::in_words(discount),
    });
    text.push_str(&format!("Wallet {}  {}; {}\n", who.wallet, rubles(who.balance), price.join(", ")));
    if let Some(since) = who.unreachable_since {
        text.push_str(&format!("Messages cannot be delivered since {}\n", moment(since)));
    }
    section(&mut text, "Subscriptions", history.subscriptions.iter().map(|row| subscription(row, history, window)));
    section(&mut text, "Credentials", history.credentials.iter().map(credential));
    section(
        &mut text,
        "Parked",
        history.parked.iter().map(|entry| {
            let state = if entry.next_try_at.is_some() { "failed on, still tried" } else { "left alone" };
            let reason = mask_uuids(&entry.reason);
            format!(
                "{} {}: {state}, {} tries since {}: {reason}",
                entry.pass,
                entry.subscription_id,
                entry.tries,
                moment(entry.since)
            )
        }),
    );
    text
}

/// A heading and its lines; nothing at all without lines.
fn section(text: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    for (index, line) in lines.enumerate() {
        if index == 0 {
            text.push_str(&format!("\n{heading}\n"));
        }
        text.push_str(&format!("  {line}\n"));
    }
}

fn subscription(row: &HistoricSubscription, history: &History, window: Duration) -> String {
    let agreed = row.agreed_price.map(|price| format!(", agreed price {}", rubles(price))).unwrap_or_default();
    let on = row.credential.map(|id| format!(", credential {id}")).unwrap_or_default();
    format!(
        "{} {} {}: {}, {} to {}{on}{agreed}\n    {}",
        row.id,
        row.source,
        row.tariff,
        row.status,
        moment(row.starts_at),
        moment(row.expires_at),
        prospect(row, circumstances(history, window))
    )
}

fn circumstances(history: &History, window: Duration) -> Circumstances<'_> {
    Circumstances { now: history.read_at, balance: history.customer.balance, parked: &history.parked, window }
}

fn credential(row: &HistoricCredential) -> String {
    format!("{} {} {} in group {}: {}", row.id, row.email, masked(row.uuid), row.access_group, credential_state(row).1)
}

fn credential_state(row: &HistoricCredential) -> (&'static str, String) {
    match (row.closed_at, row.retired_at) {
        (None, _) => ("open", format!("open since {}", moment(row.created_at))),
        (Some(at), None) => ("closing", format!("closed {}, not yet proven gone", moment(at))),
        (Some(_), Some(at)) => ("retired", format!("gone from every server since {}", moment(at))),
    }
}

pub(super) fn json(history: &History, window: Duration) -> Value {
    let who = &history.customer;
    let subscriptions = history.subscriptions.iter().map(|row| {
        json!({
            "id": row.id.0,
            "source": row.source,
            "tariff": row.tariff,
            "status": row.status,
            "starts_at": exact(row.starts_at),
            "expires_at": exact(row.expires_at),
            "credential_id": row.credential.map(|id| id.0),
            "auto_renew": row.auto_renew,
            "last_auto_renewal_at": exact_json(row.last_auto_renewal_at),
            "agreed_price_kopecks": row.agreed_price.map(|price| price.0),
            "price_kopecks": row.price.map(|price| price.0),
            "prospect": prospect(row, circumstances(history, window)),
        })
    });
    let credentials = history.credentials.iter().map(|row| {
        json!({
            "id": row.id.0,
            "email": row.email,
            "uuid": masked(row.uuid),
            "access_group": row.access_group,
            "state": credential_state(row).0,
            "created_at": exact(row.created_at),
            "closed_at": exact_json(row.closed_at),
            "retired_at": exact_json(row.retired_at),
        })
    });
    let parked = history.parked.iter().map(|entry| {
        let mut entry_json = parking::as_json(entry);
        entry_json["reason"] = json!(mask_uuids(&entry.reason));
        entry_json
    });
    json!({
        "telegram_id": who.telegram_id.0,
        "read_at": exact(history.read_at),
        "language": who.language,
        "time_zone": who.time_zone,
        "created_at": exact(who.created_at),
        "vip": who.vip,
        "discount": terms::as_json(who.discount),
        "unreachable_since": exact_json(who.unreachable_since),
        "wallet_id": who.wallet.0,
        "balance_kopecks": who.balance.0,
        "subscriptions": subscriptions.collect::<Vec<_>>(),
        "credentials": credentials.collect::<Vec<_>>(),
        "parked": parked.collect::<Vec<_>>(),
    })
}
