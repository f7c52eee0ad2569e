//! What an operator does and asks by hand: statements of `admin` alone.

mod calls;
mod history;
mod nodes;
mod notices;
mod parking;
mod price_list;
mod pruning;
mod status;
mod terms;

pub use calls::{GivenRight, PaymentId, Refunded, Rotated};
pub use history::{
    AuditEntry, Customer, HistoricCredential, HistoricNotice, HistoricPayment, HistoricSubscription, HistoricTransfer,
    History, Removal,
};
pub use nodes::{KnownNode, OrphanEntry};
pub use notices::NoticeEntry;
pub use parking::{ParkedEntry, SubscriptionOwner};
pub use price_list::{PeriodUnit, Tariff};
pub use pruning::PrunedBatch;
pub use status::{
    CalendarDay, DueLines, DueWork, EndsOfDay, MoneyOfDay, Moved, NodeState, Outbox, ParkedFor, PassRun, RunsOfDay,
    Wallets,
};
pub use terms::{AgreedPrice, CustomerTerms, Discount};
