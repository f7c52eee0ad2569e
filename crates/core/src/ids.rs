//! A newtype for each key, so that no two bare integers stand side by side in a call.

use std::fmt;

use postgres_types::{FromSql, ToSql};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSql, FromSql)]
        #[postgres(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A customer, by the id Telegram gave (`users.telegram_id`).
    TelegramId
);
id!(
    /// A row of `subscriptions`.
    SubscriptionId
);
id!(
    /// A row of `credentials`.
    CredentialId
);
id!(
    /// A row of `accounts`.
    AccountId
);
id!(
    /// A row of `transfers`.
    TransferId
);

/// One run of one program (`runs.run_id`), UUIDv7: in order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSql, FromSql)]
#[postgres(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A new run. The time in it comes from the host and only helps reading; nothing is decided by it.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The UUID a customer connects with: a secret, printed masked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ToSql, FromSql)]
#[postgres(transparent)]
pub struct VpnUuid(Uuid);

impl VpnUuid {
    /// Wraps a UUID that the database or Xray gave.
    #[must_use]
    pub fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The whole secret, for the link of the customer it belongs to and for Xray alone.
    #[must_use]
    pub fn expose(&self) -> Uuid {
        self.0
    }
}

impl fmt::Debug for VpnUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VpnUuid(********)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vpn_uuid_prints_masked() {
        let uuid = Uuid::new_v4();
        let printed = format!("{:?}", VpnUuid::new(uuid));
        assert_eq!(printed, "VpnUuid(********)");
        assert!(!printed.contains(&uuid.to_string()[..8]));
    }
}
