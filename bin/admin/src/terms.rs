//! What one customer pays: `vip`, `discount`, `agree-price`. Each writes an audit row with what it was and is.

use perennial_core::db::admin::Discount;
use perennial_core::db::{NewAudit, Tx};
use perennial_core::ids::{SubscriptionId, TelegramId};
use perennial_core::money::Kopecks;
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::output::{Answer, exact_json, moment, rubles};
use crate::session::Session;
use crate::{lists_subscriptions, unknown, writes_down};

const DAY: time::Duration = time::Duration::days(1);

/// Gives or takes the VIP price.
///
/// # Errors
/// Refused: unknown user.
pub async fn set_vip(session: &Session, call: cli::Vip) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let (user, vip) = (TelegramId(call.telegram_id), call.switch.is_on());
    let before = db
        .run_tx("set_vip", async |tx| {
            let Some(before) = tx.lock_terms(user).await? else { return Ok(None) };
            if before.vip != vip {
                tx.set_vip(user, vip).await?;
                record(tx, "vip_set", user, None, json!({ "vip": before.vip }), json!({ "vip": vip })).await?;
            }
            Ok(Some(before))
        })
        .await?
        .ok_or_else(|| unknown_user(user))?;
    let said = if vip { "has the VIP price" } else { "has no VIP price" };
    let already = if before.vip == vip { ", as before" } else { "" };
    Ok(Answer::new(
        format!("user {user} {said}{already}\n"),
        json!({ "telegram_id": user.0, "vip": vip, "changed": before.vip != vip }),
    ))
}

/// Gives a discount.
///
/// # Errors
/// Refused: unknown user.
pub async fn set_discount(session: &Session, call: cli::DiscountSet) -> Result<Answer, Failure> {
    let user = TelegramId(call.telegram_id);
    let given = change_discount(session, user, |now| {
        let ends_at = call.until.or_else(|| call.days.and_then(|days| now.checked_add(DAY * days)));
        Some(Discount { percent: call.percent, ends_at })
    })
    .await?;
    Ok(Answer::new(
        format!("user {user} has {}\n", in_words(given)),
        json!({ "telegram_id": user.0, "discount": as_json(given) }),
    ))
}

/// Takes a discount.
///
/// # Errors
/// Refused: unknown user.
pub async fn end_discount(session: &Session, call: cli::DiscountEnd) -> Result<Answer, Failure> {
    let user = TelegramId(call.telegram_id);
    change_discount(session, user, |_| None).await?;
    Ok(Answer::new(format!("user {user} has no discount\n"), json!({ "telegram_id": user.0, "discount": null })))
}

async fn change_discount(
    session: &Session,
    user: TelegramId,
    wanted: impl Fn(time::OffsetDateTime) -> Option<Discount>,
) -> Result<Option<Discount>, Failure> {
    let db = session.writer().await?;
    let given = db
        .run_tx("change_discount", async |tx| {
            let Some(before) = tx.lock_terms(user).await? else { return Ok(None) };
            let after = wanted(tx.now());
            if before.discount != after {
                tx.set_discount(user, after).await?;
                let (was, is) =
                    (json!({ "discount": as_json(before.discount) }), json!({ "discount": as_json(after) }));
                record(tx, "discount_set", user, None, was, is).await?;
            }
            Ok(Some(after))
        })
        .await?;
    given.ok_or_else(|| unknown_user(user))
}

/// What became of an agreement.
enum Agreement {
    Unknown,
    Over(String),
    Made(TelegramId, Option<Kopecks>),
}

/// Agrees a price.
///
/// # Errors
/// Refused: unknown subscription, or one that is over.
pub async fn agree_price(session: &Session, call: cli::AgreePrice) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let (id, agreed) = (SubscriptionId(call.subscription_id), call.kopecks.map(Kopecks));
    let made = db
        .run_tx("agree_price", async |tx| {
            let Some(before) = tx.lock_agreed_price(id).await? else { return Ok(Agreement::Unknown) };
            if before.status != "active" {
                return Ok(Agreement::Over(before.status));
            }
            if before.agreed != agreed {
                tx.set_agreed_price(id, agreed).await?;
                let price = |price: Option<Kopecks>| json!({ "agreed_price_kopecks": price.map(|price| price.0) });
                record(tx, "price_agreed", before.telegram_id, Some(id), price(before.agreed), price(agreed)).await?;
            }
            Ok(Agreement::Made(before.telegram_id, before.agreed))
        })
        .await?;
    let (user, before) = match made {
        Agreement::Unknown => {
            return Err(unknown(&format!("subscription {id}"), &lists_subscriptions()));
        }
        Agreement::Over(status) => {
            return Err(Failure::refused(format!("subscription {id} is {status}"))
                .with_hint("a price is agreed for an active one; a new purchase starts a new one"));
        }
        Agreement::Made(user, before) => (user, before),
    };
    let said = agreed.map_or_else(
        || "is charged by the price list".to_owned(),
        |price| format!("costs {} a period, whatever the price list says", rubles(price)),
    );
    let already = if before == agreed { ", as before" } else { "" };
    Ok(Answer::new(
        format!("subscription {id} of user {user} {said}{already}\n"),
        json!({
            "subscription_id": id.0,
            "telegram_id": user.0,
            "agreed_price_kopecks": agreed.map(|price| price.0),
            "before_kopecks": before.map(|price| price.0),
        }),
    ))
}

async fn record(
    tx: &Tx<'_>,
    action: &'static str,
    user: TelegramId,
    subscription: Option<SubscriptionId>,
    before: Value,
    after: Value,
) -> Result<(), perennial_core::db::DbError> {
    tx.insert_audit(&[NewAudit {
        action,
        telegram_id: Some(user),
        subscription_id: subscription,
        before: Some(before),
        after: Some(after),
        reason: None,
    }])
    .await
}

fn unknown_user(user: TelegramId) -> Failure {
    unknown(&format!("user {user}"), &writes_down())
}

/// `20 % off until …`, `no discount`.
#[must_use]
pub fn in_words(discount: Option<Discount>) -> String {
    match discount {
        None => "no discount".to_owned(),
        Some(Discount { percent, ends_at: None }) => format!("{percent} % off"),
        Some(Discount { percent, ends_at: Some(end) }) => format!("{percent} % off until {}", moment(end)),
    }
}

/// A discount as it stands in answers and audit rows.
#[must_use]
pub fn as_json(discount: Option<Discount>) -> Value {
    discount
        .map_or(Value::Null, |discount| json!({ "percent": discount.percent, "ends_at": exact_json(discount.ends_at) }))
}
