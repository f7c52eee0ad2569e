//! What becomes of a subscription next, and why.

use std::time::Duration;

use perennial_core::db::admin::{HistoricSubscription, ParkedEntry};
use perennial_core::money::Kopecks;
use perennial_core::time::Timestamp;

use crate::output::{moment, rubles};

/// What is known besides the row itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    pub(super) now: Timestamp,
    pub(super) balance: Kopecks,
    pub(super) parked: &'a [ParkedEntry],
    /// How long before its end `renew` charges a row.
    pub(super) window: Duration,
}

/// A sentence: it renews, and when; or it does not, and why.
pub(super) fn prospect(row: &HistoricSubscription, around: Circumstances<'_>) -> String {
    match row.status.as_str() {
        "active" if row.source != "payment" => ends(row, around.now, "it was free and does not renew"),
        "active" if !row.auto_renew => ends(row, around.now, "automatic renewal is off"),
        "active" => renewal(row, around),
        "expiring" => {
            "over; not yet proven gone from every server, until then the next purchase gets a new credential".to_owned()
        }
        _ => match row.expired_at {
            Some(at) => format!("over, and gone since {}", moment(at)),
            None => "over, and gone".to_owned(),
        },
    }
}

fn renewal(row: &HistoricSubscription, around: Circumstances<'_>) -> String {
    let parked = around
        .parked
        .iter()
        .find(|entry| entry.subscription_id == row.id && entry.pass == "renew" && entry.next_try_at.is_none());
    if let Some(entry) = parked {
        let why = format!("it is parked for renew since {} ({})", moment(entry.since), entry.reason);
        return ends(row, around.now, &why);
    }
    let price = match (row.tariff_active, row.price) {
        (Some(true), Some(price)) => price,
        (Some(_), _) => return ends(row, around.now, &format!("tariff {} is withdrawn", row.tariff)),
        (None, _) => return ends(row, around.now, &format!("there is no tariff {}", row.tariff)),
    };
    let costs = format!("it costs {}, the wallet holds {}", rubles(price), rubles(around.balance));
    if around.balance < price {
        let missing = Kopecks(price.0 - around.balance.0);
        return ends(row, around.now, &format!("{costs}: {} are missing", rubles(missing)));
    }
    let due = row.expires_at - around.window;
    if around.now < due {
        format!("renews by itself from {} on: {costs}", moment(due))
    } else if around.now < row.expires_at {
        format!("is due, the next pass of renew extends it: {costs}")
    } else {
        format!("over since {}; renew still extends it for the grace: {costs}", moment(row.expires_at))
    }
}

fn ends(row: &HistoricSubscription, now: Timestamp, why: &str) -> String {
    if now < row.expires_at {
        format!("ends {}: {why}", moment(row.expires_at))
    } else {
        format!("over since {}, the next pass ends it: {why}", moment(row.expires_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::time::macros::datetime;
    use perennial_core::ids::{CredentialId, SubscriptionId, TelegramId};

    const END: Timestamp = datetime!(2026-02-01 12:00 UTC);

    fn paid() -> HistoricSubscription {
        HistoricSubscription {
            id: SubscriptionId(5),
            source: "payment".to_owned(),
            tariff: "basic_30".to_owned(),
            tariff_active: Some(true),
            status: "active".to_owned(),
            credential: Some(CredentialId(7)),
            starts_at: END - Duration::from_secs(30 * 86_400),
            expires_at: END,
            agreed_price: None,
            price: Some(Kopecks(19_900)),
            auto_renew: true,
            last_auto_renewal_at: None,
            ended_at: None,
            expired_at: None,
        }
    }

    fn parked(pass: &str, still_tried: bool) -> Vec<ParkedEntry> {
        vec![ParkedEntry {
            pass: pass.to_owned(),
            subscription_id: SubscriptionId(5),
            telegram_id: Some(TelegramId(1)),
            tries: 3,
            reason: "broken".to_owned(),
            since: END - Duration::from_secs(3600),
            last_failed_at: END,
            next_try_at: still_tried.then_some(END),
        }]
    }

    #[test]
    fn every_case_has_its_sentence() {
        let early = datetime!(2026-01-20 12:00 UTC);
        let funded = Kopecks(19_900);
        let cases: Vec<(HistoricSubscription, Timestamp, Kopecks, Vec<ParkedEntry>, &str)> = vec![
            (paid(), early, funded, vec![], "renews by itself from 2026-02-01T06:00:00Z on: it costs 199.00 RUB"),
            (paid(), datetime!(2026-02-01 06:00 UTC), funded, vec![], "is due, the next pass of renew extends it"),
            (paid(), END, funded, vec![], "over since 2026-02-01T12:00:00Z; renew still extends it for the grace"),
            (
                paid(),
                early,
                Kopecks(19_800),
                vec![],
                "ends 2026-02-01T12:00:00Z: it costs 199.00 RUB, the wallet holds 198.00 RUB: 1.00 RUB are missing",
            ),
            (paid(), END, Kopecks(0), vec![], "over since 2026-02-01T12:00:00Z, the next pass ends it"),
            (
                paid(),
                early,
                funded,
                parked("renew", false),
                "ends 2026-02-01T12:00:00Z: it is parked for renew since 2026-02-01T11:00:00Z (broken)",
            ),
            (paid(), early, funded, parked("renew", true), "renews by itself"),
            (paid(), early, funded, parked("notify-trials", false), "renews by itself"),
            (HistoricSubscription { price: Some(Kopecks(0)), ..paid() }, early, Kopecks(0), vec![], "renews by itself"),
            (
                HistoricSubscription { auto_renew: false, ..paid() },
                early,
                funded,
                vec![],
                "ends 2026-02-01T12:00:00Z: automatic renewal is off",
            ),
            (
                HistoricSubscription { tariff_active: Some(false), ..paid() },
                early,
                funded,
                vec![],
                "ends 2026-02-01T12:00:00Z: tariff basic_30 is withdrawn",
            ),
            (
                HistoricSubscription { tariff_active: None, price: None, ..paid() },
                early,
                funded,
                vec![],
                "ends 2026-02-01T12:00:00Z: there is no tariff basic_30",
            ),
            (
                HistoricSubscription { source: "trial".to_owned(), ..paid() },
                early,
                funded,
                vec![],
                "ends 2026-02-01T12:00:00Z: it was free and does not renew",
            ),
            (
                HistoricSubscription { status: "expiring".to_owned(), ..paid() },
                END,
                funded,
                vec![],
                "over; not yet proven gone",
            ),
            (
                HistoricSubscription { status: "expired".to_owned(), expired_at: Some(END), ..paid() },
                END,
                funded,
                vec![],
                "over, and gone since 2026-02-01T12:00:00Z",
            ),
        ];
        for (row, now, balance, parked, said) in cases {
            let around = Circumstances { now, balance, parked: &parked, window: Duration::from_secs(6 * 3600) };
            let sentence = prospect(&row, around);
            assert!(sentence.starts_with(said), "{sentence} is not {said}");
        }
    }
}
