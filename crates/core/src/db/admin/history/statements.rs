//! Statements of [`find_history`](crate::db::Tx::find_history): newest rows first.

pub(super) const CUSTOMER: &str = "-- history_customer
SELECT u.telegram_id, u.language, u.time_zone, u.vip, u.telegram_unreachable_since, u.created_at,
    d.percent, nullif(d.ends_at, 'infinity') AS ends_at, w.id AS wallet, w.balance_kopecks
FROM users u
JOIN accounts w ON w.telegram_id = u.telegram_id AND w.kind = 'wallet'
LEFT JOIN discounts d ON d.telegram_id = u.telegram_id
WHERE u.telegram_id = $1";

pub(super) const SUBSCRIPTIONS: &str = "-- history_subscriptions
SELECT s.id, s.source, s.tariff, t.active AS tariff_active, s.status, s.credential_id, s.starts_at, s.expires_at,
    s.agreed_price_kopecks, price_kopecks(t.price_kopecks, s.agreed_price_kopecks, u.vip, d.percent) AS price,
    s.auto_renew, s.last_auto_renewal_at, s.ended_at, s.expired_at
FROM subscriptions s
JOIN users u ON u.telegram_id = s.telegram_id
LEFT JOIN tariffs t ON t.code = s.tariff
LEFT JOIN discounts d ON d.telegram_id = s.telegram_id AND (d.ends_at IS NULL OR d.ends_at > $2)
WHERE s.telegram_id = $1
ORDER BY s.id DESC
LIMIT $3";

pub(super) const CREDENTIALS: &str = "-- history_credentials
SELECT c.id, c.access_group, c.uuid, c.email, c.created_at, c.closed_at, c.retired_at
FROM credentials c
WHERE c.telegram_id = $1
ORDER BY c.id DESC
LIMIT $2";

pub(super) const REMOVALS: &str = "-- history_removals
SELECT r.credential, r.node, r.proven_at
FROM removals r
WHERE r.credential = ANY ($1)
ORDER BY r.credential, r.proven_at, r.node";

// The running balance is counted from the first transfer on, before the list is cut.
pub(super) const TRANSFERS: &str = "-- history_transfers
SELECT m.id, m.idempotency_key, m.kind, m.kopecks, (sum(m.kopecks) OVER (ORDER BY m.id))::bigint AS balance,
    m.reverses, m.created_at
FROM (
    SELECT t.id, t.idempotency_key, t.kind, t.amount_kopecks AS kopecks, t.reverses, t.created_at
    FROM transfers t
    WHERE t.credit_account = $1 AND t.credit_account > 3 -- wallets, which alone are indexed
    UNION ALL
    SELECT t.id, t.idempotency_key, t.kind, -t.amount_kopecks, t.reverses, t.created_at
    FROM transfers t
    WHERE t.debit_account = $1 AND t.debit_account > 3
) m
ORDER BY m.id DESC
LIMIT $2";

// In two halves, because each has an index of its own.
pub(super) const PAYMENTS: &str = "-- history_payments
SELECT m.id, m.subscription_id, m.tariff, m.period_start, m.period_end, m.amount_kopecks, m.transfer_id, m.created_at,
    m.voided_at
FROM (
    SELECT p.* FROM subscriptions s JOIN payments p ON p.subscription_id = s.id AND p.voided_at IS NULL
    WHERE s.telegram_id = $1
    UNION ALL
    SELECT p.* FROM subscriptions s JOIN payments p ON p.subscription_id = s.id AND p.voided_at IS NOT NULL
    WHERE s.telegram_id = $1
) m
ORDER BY m.id DESC
LIMIT $2";

pub(super) const AUDIT: &str = "-- history_audit
SELECT a.id, a.at, a.actor, a.run_id, a.action, a.subscription_id, a.before, a.after, a.reason
FROM audit_log a
WHERE a.telegram_id = $1
ORDER BY a.id DESC
LIMIT $2";

pub(super) const NOTICES: &str = "-- history_notices
SELECT n.id, n.kind, n.subscription_id, n.status, n.attempts, n.last_error, n.not_before, n.useless_after,
    n.created_at, n.sent_at
FROM notices n
WHERE n.telegram_id = $1
ORDER BY n.id DESC
LIMIT $2";

pub(super) const PARKED: &str = "-- history_parked
SELECT p.pass, p.subscription, p.tries, p.reason, p.first_failed_at, p.last_failed_at, p.next_try_at, s.telegram_id
FROM subscriptions s
JOIN parked p ON p.subscription = s.id
WHERE s.telegram_id = $1
ORDER BY p.subscription, p.pass COLLATE \"C\"";
