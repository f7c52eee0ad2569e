//! The functions that bots call, by hand.

use perennial_core::db::admin::{GivenRight, PaymentId};
use perennial_core::db::{Database, DbError};
use perennial_core::ids::{SubscriptionId, TelegramId};
use perennial_core::money::Kopecks;
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::output::{Answer, exact, masked, moment, rubles};
use crate::session::Session;

/// The key of one call: given, or made here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CallKey {
    key: String,
    made: bool,
}

impl CallKey {
    fn of(given: cli::Key, session: &Session) -> Self {
        match given.key {
            Some(key) => Self { key, made: false },
            // Without dashes, so that it is not taken for a secret where UUIDs are masked.
            None => Self { key: format!("admin:{}", session.run_id.0.simple()), made: true },
        }
    }

    /// An answer that ends with the key, where it is news.
    fn answer(&self, text: &str, mut json: Value) -> Answer {
        json["idempotency_key"] = json!(self.key);
        let repeat = if self.made {
            format!("key {}: with --key the same call gives this answer again and is not done twice\n", self.key)
        } else {
            String::new()
        };
        Answer::new(format!("{text}\n{repeat}"), json)
    }

    /// A failure after which nobody knows whether the call was done.
    fn failure(&self, error: DbError) -> Failure {
        let is_unknown = matches!(error, DbError::CommitUnknown { .. });
        let failure = Failure::from(error);
        if !is_unknown {
            return failure;
        }
        failure.with_hint(format!("repeat it with --key {}: it is done at most once", self.key))
    }
}

/// Writes a user down.
///
/// # Errors
/// Refused: language or time zone is none.
pub async fn ensure_user(session: &Session, call: cli::EnsureUser) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let user = TelegramId(call.telegram_id);
    db.run_tx("ensure_user", async |tx| {
        tx.call_ensure_user(user, call.language.as_deref(), call.time_zone.as_deref()).await
    })
    .await?;
    Ok(Answer::new(format!("user {user} is written down\n"), json!({ "telegram_id": user.0 })))
}

/// Fills a wallet.
///
/// # Errors
/// Refused: unknown user, key used otherwise.
pub async fn top_up(session: &Session, call: cli::TopUp) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let (user, amount) = (TelegramId(call.telegram_id), Kopecks(call.kopecks));
    let key = CallKey::of(call.key, session);
    let balance = db.run_tx("top_up", async |tx| tx.call_top_up(user, amount, &key.key).await).await;
    let balance = balance.map_err(|error| key.failure(error))?;
    Ok(key.answer(
        &format!("user {user}: {} topped up, the wallet holds {}", rubles(amount), rubles(balance)),
        json!({ "telegram_id": user.0, "amount_kopecks": amount.0, "balance_kopecks": balance.0 }),
    ))
}

/// Sells a period.
///
/// # Errors
/// Refused: not enough money, unknown user or tariff, another group, key used otherwise.
pub async fn buy(session: &Session, call: cli::Buy) -> Result<Answer, Failure> {
    let user = TelegramId(call.telegram_id);
    let give = async |db: &Database, key: &str| {
        let auto_renew = call.auto_renew.is_on();
        db.run_tx("buy", async |tx| tx.call_buy(user, &call.tariff, auto_renew, key).await).await
    };
    give_right(session, user, "bought", call.key, call.secret, give).await
}

/// Gives days.
///
/// # Errors
/// Refused: unknown user or tariff, another group, key used otherwise.
pub async fn grant(session: &Session, call: cli::Grant) -> Result<Answer, Failure> {
    let user = TelegramId(call.telegram_id);
    let give = async |db: &Database, key: &str| {
        db.run_tx("grant", async |tx| tx.call_grant(user, &call.tariff, call.days, key).await).await
    };
    give_right(session, user, "granted", call.key, call.secret, give).await
}

/// Starts a trial.
///
/// # Errors
/// Refused: trial used, unknown user or tariff, key used otherwise.
pub async fn start_trial(session: &Session, call: cli::StartTrial) -> Result<Answer, Failure> {
    let user = TelegramId(call.telegram_id);
    let give = async |db: &Database, key: &str| {
        db.run_tx("start_trial", async |tx| tx.call_start_trial(user, &call.tariff, call.hours, key).await).await
    };
    give_right(session, user, "trial", call.key, call.secret, give).await
}

async fn give_right(
    session: &Session,
    user: TelegramId,
    what: &str,
    key: cli::Key,
    secret: cli::Secret,
    give: impl AsyncFnOnce(&Database, &str) -> Result<GivenRight, DbError>,
) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let key = CallKey::of(key, session);
    let given = give(&db, &key.key).await.map_err(|error| key.failure(error))?;
    let uuid = if secret.show_secret { given.uuid.expose().to_string() } else { masked(given.uuid) };
    let until = moment(given.expires_at);
    Ok(key.answer(
        &format!("user {user}: {what}, subscription {} until {until}, {} {uuid}", given.subscription_id, given.email),
        json!({
            "telegram_id": user.0,
            "subscription_id": given.subscription_id.0,
            "expires_at": exact(given.expires_at),
            "email": given.email,
            "credential_uuid": uuid,
        }),
    ))
}

/// Ends a subscription.
///
/// # Errors
/// Refused: unknown subscription, key used otherwise.
pub async fn cancel(session: &Session, call: cli::Cancel) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let id = SubscriptionId(call.subscription_id);
    let key = CallKey::of(call.key, session);
    let end = db.run_tx("cancel", async |tx| tx.call_cancel(id, &key.key).await).await;
    let end = end.map_err(|error| key.failure(error))?;
    Ok(key.answer(
        &format!("subscription {id}: ends {}; its access is removed by the next passes", moment(end)),
        json!({ "subscription_id": id.0, "expires_at": exact(end) }),
    ))
}

/// Gives a new credential.
///
/// # Errors
/// Refused: unknown user, no open credential in that group, key used otherwise.
pub async fn rotate(session: &Session, call: cli::Rotate) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let user = TelegramId(call.telegram_id);
    let key = CallKey::of(call.key, session);
    let rotated = db.run_tx("rotate", async |tx| tx.call_rotate(user, &call.group, &key.key).await).await;
    let rotated = rotated.map_err(|error| key.failure(error))?;
    let uuid = if call.secret.show_secret { rotated.uuid.expose().to_string() } else { masked(rotated.uuid) };
    Ok(key.answer(
        &format!("user {user}: new credential {} {uuid} in group {}, the old one is closed", rotated.email, call.group),
        json!({ "telegram_id": user.0, "access_group": call.group, "email": rotated.email, "credential_uuid": uuid }),
    ))
}

/// Takes a payment back.
///
/// # Errors
/// Refused: unknown payment, voided already, not the latest, key used otherwise.
pub async fn refund(session: &Session, call: cli::Refund) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let payment = PaymentId(call.payment_id);
    let key = CallKey::of(call.key, session);
    let refunded = db.run_tx("refund", async |tx| tx.call_refund(payment, &call.reason, &key.key).await).await;
    let refunded = refunded.map_err(|error| key.failure(error))?;
    Ok(key.answer(
        &format!(
            "payment {}: {} refunded, the wallet holds {}, the subscription ends {} and does not renew by itself",
            payment.0,
            rubles(refunded.refunded),
            rubles(refunded.balance),
            moment(refunded.expires_at)
        ),
        json!({
            "payment_id": payment.0,
            "refunded_kopecks": refunded.refunded.0,
            "balance_kopecks": refunded.balance.0,
            "expires_at": exact(refunded.expires_at),
        }),
    ))
}

/// Switches automatic renewal.
///
/// # Errors
/// Refused: unknown subscription, one that cannot renew, or that was cancelled.
pub async fn set_auto_renew(session: &Session, call: cli::SetAutoRenew) -> Result<Answer, Failure> {
    let db = session.writer().await?;
    let (id, on) = (SubscriptionId(call.subscription_id), call.switch.is_on());
    let on = db.run_tx("set_auto_renew", async |tx| tx.call_set_auto_renew(id, on).await).await?;
    Ok(Answer::new(
        format!("subscription {id}: automatic renewal is {}\n", if on { "on" } else { "off" }),
        json!({ "subscription_id": id.0, "auto_renew": on }),
    ))
}
