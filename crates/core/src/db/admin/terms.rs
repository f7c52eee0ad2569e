//! What one customer pays: VIP price, personal discount, a price agreed for a subscription.

use tokio_postgres::types::Type;

use crate::db::tx::column;
use crate::db::{DbError, Tx};
use crate::ids::{SubscriptionId, TelegramId};
use crate::money::Kopecks;
use crate::time::Timestamp;

/// A personal discount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discount {
    /// Percent off the list price, 0 to 100.
    pub percent: i32,
    /// Valid before this moment; none: without end.
    pub ends_at: Option<Timestamp>,
}

/// What a user has been promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerTerms {
    /// VIP price, which beats a discount.
    pub vip: bool,
    /// The personal discount on record, over or not.
    pub discount: Option<Discount>,
}

/// A subscription and the price agreed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedPrice {
    /// Whose.
    pub telegram_id: TelegramId,
    /// `active`, `expiring`, `expired`.
    pub status: String,
    /// Charged instead of the list price; none: none.
    pub agreed: Option<Kopecks>,
}

const LOCK_TERMS: &str = "-- lock_terms
SELECT u.vip, d.percent, nullif(d.ends_at, 'infinity') AS ends_at
FROM users u
LEFT JOIN discounts d ON d.telegram_id = u.telegram_id
WHERE u.telegram_id = $1
FOR NO KEY UPDATE OF u";

const SET_VIP: &str = "-- set_vip
UPDATE users u SET vip = $2 WHERE u.telegram_id = $1";

const PUT_DISCOUNT: &str = "-- put_discount
INSERT INTO discounts (telegram_id, percent, ends_at) VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT discounts_pkey DO UPDATE SET percent = excluded.percent, ends_at = excluded.ends_at";

const DELETE_DISCOUNT: &str = "-- delete_discount
DELETE FROM discounts d WHERE d.telegram_id = $1";

const LOCK_AGREED_PRICE: &str = "-- lock_agreed_price
SELECT s.telegram_id, s.status, s.agreed_price_kopecks FROM subscriptions s WHERE s.id = $1 FOR NO KEY UPDATE";

const SET_AGREED_PRICE: &str = "-- set_agreed_price
UPDATE subscriptions s SET agreed_price_kopecks = $2 WHERE s.id = $1";

impl Tx<'_> {
    /// Locks a user and reads what he was promised; none: no such user.
    ///
    /// # Errors
    /// The database's.
    pub async fn lock_terms(&self, user: TelegramId) -> Result<Option<CustomerTerms>, DbError> {
        let Some(row) = self.query_opt(LOCK_TERMS, &[(&user, Type::INT8)]).await? else { return Ok(None) };
        let percent: Option<i32> = column(&row, "percent")?;
        let ends_at = column(&row, "ends_at")?;
        Ok(Some(CustomerTerms {
            vip: column(&row, "vip")?,
            discount: percent.map(|percent| Discount { percent, ends_at }),
        }))
    }

    /// Gives a locked user the VIP price, or takes it.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_vip(&self, user: TelegramId, vip: bool) -> Result<(), DbError> {
        self.execute(SET_VIP, &[(&user, Type::INT8), (&vip, Type::BOOL)]).await?;
        Ok(())
    }

    /// Gives a locked user a discount in place of the one he has, or none.
    ///
    /// # Errors
    /// [`DbError::Refused`] for a percentage that cannot be.
    pub async fn set_discount(&self, user: TelegramId, discount: Option<Discount>) -> Result<(), DbError> {
        match discount {
            Some(Discount { percent, ends_at }) => {
                self.execute(
                    PUT_DISCOUNT,
                    &[(&user, Type::INT8), (&percent, Type::INT4), (&ends_at, Type::TIMESTAMPTZ)],
                )
                .await?
            }
            None => self.execute(DELETE_DISCOUNT, &[(&user, Type::INT8)]).await?,
        };
        Ok(())
    }

    /// Locks a subscription and reads the price agreed for it; none: no such subscription.
    ///
    /// # Errors
    /// The database's.
    pub async fn lock_agreed_price(&self, id: SubscriptionId) -> Result<Option<AgreedPrice>, DbError> {
        let Some(row) = self.query_opt(LOCK_AGREED_PRICE, &[(&id, Type::INT8)]).await? else { return Ok(None) };
        Ok(Some(AgreedPrice {
            telegram_id: column(&row, "telegram_id")?,
            status: column(&row, "status")?,
            agreed: column(&row, "agreed_price_kopecks")?,
        }))
    }

    /// Writes the price agreed for a locked subscription; none: list price and discounts count again.
    ///
    /// # Errors
    /// [`DbError::Refused`] for a price that cannot be.
    pub async fn set_agreed_price(&self, id: SubscriptionId, agreed: Option<Kopecks>) -> Result<(), DbError> {
        self.execute(SET_AGREED_PRICE, &[(&id, Type::INT8), (&agreed, Type::INT8)]).await?;
        Ok(())
    }
}
