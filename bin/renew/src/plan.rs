//! The decision: pure, a row and a moment in, an action out. Then what the actions of a batch write.

use std::time::Duration;

use perennial_core::db::{
    DueForRenewal, Extension, FailedTry, NewAudit, NewNotice, NewPayment, PaidPeriod, ReadBack, ShortStage, ShortTry,
    Verdict,
};
use perennial_core::ids::SubscriptionId;
use perennial_core::ledger::NewTransfer;
use perennial_core::money::Kopecks;
use perennial_core::time::{Timestamp, micros};
use serde_json::json;
use time::format_description::well_known::Rfc3339;

/// The final notice about a short balance is due from so long before the end.
pub const FINAL_NOTICE: Duration = Duration::from_secs(3600);

/// What is done with a claimed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Charge the price (which may be 0) and extend to `until`.
    Renew {
        /// What is charged.
        price: Kopecks,
        /// The new end.
        until: Timestamp,
    },
    /// The wallet does not cover the price. The period is not used up: the next pass tries again.
    Short {
        /// What the period costs.
        price: Kopecks,
        /// The stage the dunning has reached.
        stage: ShortStage,
        /// Whether that stage is new, so that its notice is due.
        notify: bool,
        /// Whether anything is new since the last recorded try: balance, price or notice.
        record: bool,
    },
    /// A person must look first.
    Park {
        /// Why.
        reason: String,
    },
}

/// Decides what is done with a claimed row at `now`.
#[must_use]
pub fn decide(row: &DueForRenewal, now: Timestamp) -> Action {
    match (row.tariff_active, row.price, row.period_end) {
        (Some(true), Some(price), Some(until)) if row.balance >= price => Action::Renew { price, until },
        (Some(true), Some(price), Some(_)) => short(row, price, now),
        (Some(false), ..) => Action::Park { reason: format!("tariff {} is withdrawn", row.tariff) },
        _ => Action::Park { reason: format!("tariff {} does not exist", row.tariff) },
    }
}

fn short(row: &DueForRenewal, price: Kopecks, now: Timestamp) -> Action {
    let reached = if row.period_start - now <= FINAL_NOTICE { ShortStage::Final } else { ShortStage::First };
    let before = row.short_stage;
    let notify = before.is_none_or(|before| before < reached);
    Action::Short {
        price,
        stage: before.map_or(reached, |before| before.max(reached)),
        notify,
        record: notify || row.short_seen != Some((row.balance, price)),
    }
}

/// The decisions about a batch.
#[derive(Debug)]
pub struct Plan {
    rows: Vec<(DueForRenewal, Action)>,
    grace: Duration,
}

impl Plan {
    /// Decides about every claimed row.
    #[must_use]
    pub fn of(claimed: Vec<DueForRenewal>, now: Timestamp, grace: Duration) -> Self {
        let rows = claimed
            .into_iter()
            .map(|row| {
                let action = decide(&row, now);
                (row, action)
            })
            .collect();
        Self { rows, grace }
    }

    /// Every row with its decision.
    pub fn rows(&self) -> impl Iterator<Item = &(DueForRenewal, Action)> {
        self.rows.iter()
    }

    fn renewals(&self) -> impl Iterator<Item = (&DueForRenewal, Kopecks, Timestamp)> {
        self.rows.iter().filter_map(|(row, action)| match action {
            Action::Renew { price, until } => Some((row, *price, *until)),
            _ => None,
        })
    }

    /// The charges. A price of 0 moves no money.
    #[must_use]
    pub fn transfers(&self) -> Vec<NewTransfer> {
        self.renewals()
            .filter(|(_, price, _)| *price > Kopecks::ZERO)
            .map(|(row, price, _)| NewTransfer::charge(transfer_key(row), row.wallet, price))
            .collect()
    }

    /// The new ends.
    #[must_use]
    pub fn extensions(&self) -> Vec<Extension> {
        self.renewals().map(|(row, _, until)| extension(row, until)).collect()
    }

    /// One payment a charged period.
    #[must_use]
    pub fn payments(&self) -> Vec<NewPayment> {
        self.renewals()
            .map(|(row, price, until)| NewPayment {
                extension: extension(row, until),
                tariff: row.tariff.clone(),
                amount: price,
                transfer_key: (price > Kopecks::ZERO).then(|| transfer_key(row)),
            })
            .collect()
    }

    /// A receipt for each charged period; a notice for each new stage of a short balance.
    #[must_use]
    pub fn notices(&self) -> Vec<NewNotice> {
        self.rows
            .iter()
            .filter_map(|(row, action)| match action {
                Action::Renew { price, until } => Some(receipt(row, *price, *until)),
                Action::Short { price, stage, notify: true, .. } => {
                    Some(short_notice(row, *price, *stage, row.period_start + self.grace))
                }
                _ => None,
            })
            .collect()
    }

    /// A row for each change.
    #[must_use]
    pub fn audit(&self) -> Vec<NewAudit> {
        self.rows.iter().filter_map(|(row, action)| audit(row, action)).collect()
    }

    /// Failed tries for want of money that have something new.
    #[must_use]
    pub fn short_tries(&self) -> Vec<ShortTry> {
        self.rows
            .iter()
            .filter_map(|(row, action)| match action {
                Action::Short { price, stage, record: true, .. } => {
                    Some(ShortTry { id: row.id, stage: *stage, balance: row.balance, price: *price })
                }
                _ => None,
            })
            .collect()
    }

    /// Rows to be parked at once.
    #[must_use]
    pub fn parkings(&self) -> Vec<FailedTry> {
        self.rows
            .iter()
            .filter_map(|(row, action)| match action {
                Action::Park { reason } => {
                    Some(FailedTry { subscription_id: row.id, reason: reason.clone(), verdict: Verdict::Park })
                }
                _ => None,
            })
            .collect()
    }

    /// Rows that were failed on before and have now been got through.
    #[must_use]
    pub fn recovered(&self) -> Vec<SubscriptionId> {
        self.rows
            .iter()
            .filter(|(row, action)| row.tries > 0 && !matches!(action, Action::Park { .. }))
            .map(|(row, _)| row.id)
            .collect()
    }

    /// Compares what stands in the database after the extension with what was decided: the end, the credential, its
    /// UUID (A-09 of docs/known-defects.md) and the payment. Answers the first difference, for a person.
    #[must_use]
    pub fn difference(&self, read_back: &[ReadBack], paid: &[PaidPeriod]) -> Option<String> {
        self.difference_of_rows(read_back).or_else(|| self.difference_of_payments(paid))
    }

    fn difference_of_payments(&self, paid: &[PaidPeriod]) -> Option<String> {
        let paid: std::collections::HashMap<_, _> = paid.iter().map(|row| (row.period.id, row)).collect();
        self.renewals().find_map(|(row, price, until)| {
            let decided = PaidPeriod { period: extension(row, until), amount: price };
            let is_as_decided = paid.get(&row.id).is_some_and(|found| **found == decided);
            (!is_as_decided).then(|| format!("the payment of subscription {} is not what was decided", row.id))
        })
    }

    fn difference_of_rows(&self, read_back: &[ReadBack]) -> Option<String> {
        let found: std::collections::HashMap<_, _> = read_back.iter().map(|row| (row.id, row)).collect();
        self.renewals().find_map(|(row, _, until)| {
            let id = row.id;
            match found.get(&id) {
                None => Some(format!("subscription {id} is not active any more after its extension")),
                Some(now) if now.expires_at != until => Some(format!(
                    "subscription {id} ends at {} after its extension, not at {}",
                    text(now.expires_at),
                    text(until)
                )),
                Some(now) if now.credential != row.credential || now.uuid != row.uuid => {
                    Some(format!("subscription {id} has another credential or UUID after its extension"))
                }
                Some(_) => None,
            }
        })
    }
}

/// `renew:<subscription>:<period start>`; a period charged again after a refund carries a number.
fn transfer_key(row: &DueForRenewal) -> String {
    let start = micros(row.period_start);
    match row.voided {
        0 => format!("renew:{}:{start}", row.id),
        refunds => format!("renew:{}:{start}:{}", row.id, refunds + 1),
    }
}

fn extension(row: &DueForRenewal, until: Timestamp) -> Extension {
    Extension { id: row.id, period_start: row.period_start, period_end: until }
}

fn receipt(row: &DueForRenewal, price: Kopecks, until: Timestamp) -> NewNotice {
    let number = if row.voided == 0 { String::new() } else { format!(":{}", row.voided + 1) };
    NewNotice {
        telegram_id: row.telegram_id,
        kind: "renewed",
        dedupe_key: format!("renewed:{}:{}{number}", row.id, micros(row.period_start)),
        params: json!({
            "tariff": row.tariff,
            "amount_kopecks": price.0,
            "balance_kopecks": row.balance.0 - price.0,
            "until": micros(until),
        }),
        subscription_id: Some(row.id),
        useless_after: None,
        urgent: false,
    }
}

/// The key of the notice about a short balance.
pub(crate) fn short_key(row: &DueForRenewal, stage: ShortStage) -> String {
    format!("balance_short:{}:{}:{}", row.id, micros(row.period_start), stage.name())
}

fn short_notice(row: &DueForRenewal, price: Kopecks, stage: ShortStage, useless_after: Timestamp) -> NewNotice {
    NewNotice {
        telegram_id: row.telegram_id,
        kind: "balance_short",
        dedupe_key: short_key(row, stage),
        params: json!({
            "tariff": row.tariff,
            "stage": stage.name(),
            "price_kopecks": price.0,
            "balance_kopecks": row.balance.0,
            "missing_kopecks": price.0 - row.balance.0,
            "deadline": micros(row.period_start),
        }),
        subscription_id: Some(row.id),
        useless_after: Some(useless_after),
        urgent: stage == ShortStage::Final,
    }
}

fn audit(row: &DueForRenewal, action: &Action) -> Option<NewAudit> {
    let (action, before, after) = match action {
        Action::Renew { price, until } => (
            "renewed",
            json!({ "expires_at": text(row.period_start), "balance_kopecks": row.balance.0 }),
            json!({
                "expires_at": text(*until),
                "balance_kopecks": row.balance.0 - price.0,
                "amount_kopecks": price.0,
                "tariff": row.tariff,
            }),
        ),
        Action::Short { price, stage, record: true, .. } => (
            "renewal_short",
            json!({ "expires_at": text(row.period_start), "balance_kopecks": row.balance.0 }),
            json!({ "price_kopecks": price.0, "missing_kopecks": price.0 - row.balance.0, "stage": stage.name() }),
        ),
        // A parked row is written down where it is parked.
        Action::Short { .. } | Action::Park { .. } => return None,
    };
    Some(NewAudit {
        action,
        telegram_id: Some(row.telegram_id),
        subscription_id: Some(row.id),
        before: Some(before),
        after: Some(after),
        reason: None,
    })
}

pub(crate) fn text(moment: Timestamp) -> String {
    moment.format(&Rfc3339).unwrap_or_else(|_| moment.to_string())
}

#[cfg(test)]
mod tests;
