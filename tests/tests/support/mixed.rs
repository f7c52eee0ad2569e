//! A book in which one pass has to do everything it can do.

use perennial_core::ids::SubscriptionId;
use perennial_core::money::Kopecks;
use perennial_testkit::builders::{Subscription, Tariff, User};

use super::{BASIC, DAY, HOUR, NOW, PRICE, WINDOW, World};

/// Rows of [`put_mixed`] that are due.
pub const DUE: u64 = 24;

/// Rows of every kind, due and not; ids and all else are the same in every database.
pub async fn put_mixed(world: &World) -> Vec<SubscriptionId> {
    let client = &world.client;
    Tariff::days("days_30", 30, 10_001).put(client).await;
    Tariff { active: false, ..Tariff::days("withdrawn", 30, 100) }.put(client).await;
    let mut ids = Vec::new();
    for n in 1..=28_i64 {
        let kind = n % 7;
        let user = User {
            vip: kind == 1,
            discount: (kind == 2).then_some(33),
            unreachable_since: (kind == 3).then_some(NOW - DAY),
            // Every fourth has too little, whatever its price.
            ..User::new(n, if n % 4 == 0 { 60 } else { PRICE + n })
        };
        user.put(client).await;
        // Two rows share each end, so that a page can break between equal ends.
        let end = NOW - HOUR / 8 + HOUR / 4 * u32::try_from(n / 2).unwrap();
        let row = match kind {
            0 => Subscription { auto_renew: false, ..Subscription::paid(n, BASIC.code, end) },
            3 => Subscription::paid(n, "days_30", end),
            4 => Subscription { agreed_price: Some(Kopecks(0)), ..Subscription::paid(n, BASIC.code, end) },
            5 => Subscription::paid(n, if n == 5 { "never_was" } else { "withdrawn" }, end),
            _ => Subscription::paid(n, BASIC.code, end),
        };
        ids.push(row.put(client).await);
    }
    for n in 29..=32 {
        ids.push(world.subscriber(n, PRICE, NOW + WINDOW + HOUR).await);
    }
    ids
}
