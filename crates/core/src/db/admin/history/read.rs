//! Rows of the statements beside this file.

use tokio_postgres::Row;

use super::{
    AuditEntry, Customer, Discount, HistoricCredential, HistoricNotice, HistoricPayment, HistoricSubscription,
    HistoricTransfer, Removal,
};
use crate::db::DbError;
use crate::db::tx::column;

pub(super) fn customer(row: &Row) -> Result<Customer, DbError> {
    let percent: Option<i32> = column(row, "percent")?;
    let ends_at = column(row, "ends_at")?;
    Ok(Customer {
        telegram_id: column(row, "telegram_id")?,
        language: column(row, "language")?,
        time_zone: column(row, "time_zone")?,
        vip: column(row, "vip")?,
        unreachable_since: column(row, "telegram_unreachable_since")?,
        created_at: column(row, "created_at")?,
        discount: percent.map(|percent| Discount { percent, ends_at }),
        wallet: column(row, "wallet")?,
        balance: column(row, "balance_kopecks")?,
    })
}

pub(super) fn subscription(row: &Row) -> Result<HistoricSubscription, DbError> {
    Ok(HistoricSubscription {
        id: column(row, "id")?,
        source: column(row, "source")?,
        tariff: column(row, "tariff")?,
        tariff_active: column(row, "tariff_active")?,
        status: column(row, "status")?,
        credential: column(row, "credential_id")?,
        starts_at: column(row, "starts_at")?,
        expires_at: column(row, "expires_at")?,
        agreed_price: column(row, "agreed_price_kopecks")?,
        price: column(row, "price")?,
        auto_renew: column(row, "auto_renew")?,
        last_auto_renewal_at: column(row, "last_auto_renewal_at")?,
        ended_at: column(row, "ended_at")?,
        expired_at: column(row, "expired_at")?,
    })
}

pub(super) fn credential(row: &Row) -> Result<HistoricCredential, DbError> {
    Ok(HistoricCredential {
        id: column(row, "id")?,
        access_group: column(row, "access_group")?,
        uuid: column(row, "uuid")?,
        email: column(row, "email")?,
        created_at: column(row, "created_at")?,
        closed_at: column(row, "closed_at")?,
        retired_at: column(row, "retired_at")?,
    })
}

pub(super) fn removal(row: &Row) -> Result<Removal, DbError> {
    Ok(Removal {
        credential: column(row, "credential")?,
        node: column(row, "node")?,
        proven_at: column(row, "proven_at")?,
    })
}

pub(super) fn transfer(row: &Row) -> Result<HistoricTransfer, DbError> {
    Ok(HistoricTransfer {
        id: column(row, "id")?,
        key: column(row, "idempotency_key")?,
        kind: column(row, "kind")?,
        moved: column(row, "kopecks")?,
        balance: column(row, "balance")?,
        reverses: column(row, "reverses")?,
        created_at: column(row, "created_at")?,
    })
}

pub(super) fn payment(row: &Row) -> Result<HistoricPayment, DbError> {
    Ok(HistoricPayment {
        id: column(row, "id")?,
        subscription_id: column(row, "subscription_id")?,
        tariff: column(row, "tariff")?,
        period_start: column(row, "period_start")?,
        period_end: column(row, "period_end")?,
        amount: column(row, "amount_kopecks")?,
        transfer_id: column(row, "transfer_id")?,
        created_at: column(row, "created_at")?,
        voided_at: column(row, "voided_at")?,
    })
}

pub(super) fn audit(row: &Row) -> Result<AuditEntry, DbError> {
    Ok(AuditEntry {
        id: column(row, "id")?,
        at: column(row, "at")?,
        actor: column(row, "actor")?,
        run_id: column(row, "run_id")?,
        action: column(row, "action")?,
        subscription_id: column(row, "subscription_id")?,
        before: column(row, "before")?,
        after: column(row, "after")?,
        reason: column(row, "reason")?,
    })
}

pub(super) fn notice(row: &Row) -> Result<HistoricNotice, DbError> {
    Ok(HistoricNotice {
        id: column(row, "id")?,
        kind: column(row, "kind")?,
        subscription_id: column(row, "subscription_id")?,
        status: column(row, "status")?,
        attempts: column(row, "attempts")?,
        last_error: column(row, "last_error")?,
        not_before: column(row, "not_before")?,
        useless_after: column(row, "useless_after")?,
        created_at: column(row, "created_at")?,
        sent_at: column(row, "sent_at")?,
    })
}
