//! The statements of `perennial status`. Each reads an index range, or stops at a named number of rows; only the sum of all
//! wallets looks at every wallet.

/// The calendar: days by their date, each with the moment it begins in the operator's zone.
pub(super) const DAYS: &str = "-- status_days
SELECT d.day::date AS day, d.day AT TIME ZONE $1 AS begins
FROM generate_series(
    date_trunc('day', $2 AT TIME ZONE $1) + make_interval(days => $3),
    date_trunc('day', $2 AT TIME ZONE $1) + make_interval(days => $4),
    interval '1 day'
) AS d (day)
ORDER BY d.day";

pub(super) const RUNS: &str = "-- status_runs
SELECT p.pass, r.version, r.host, r.mode, r.started_at, r.finished_at, r.outcome, r.exit_code, r.summary
FROM unnest($1) AS p (pass)
CROSS JOIN LATERAL (
    SELECT * FROM runs r WHERE r.pass = p.pass ORDER BY r.started_at DESC LIMIT $2
) r";

// What a pass would list now, as its own statement says it, up to $5 rows; `late` counts what should have been done.
pub(super) const DUE: &str = "-- status_due
SELECT 'renew' AS work, count(*) AS rows, min(d.at) AS oldest, count(*) FILTER (WHERE d.at <= $1) AS late
FROM (
    SELECT s.expires_at AS at
    FROM subscriptions s
    WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment' AND s.expires_at > $2 AND s.expires_at <= $3
        AND NOT EXISTS (
            SELECT FROM parked p
            WHERE p.pass = 'renew' AND p.subscription = s.id AND (p.next_try_at IS NULL OR p.next_try_at > $1)
        )
    ORDER BY s.expires_at LIMIT $5
) d
UNION ALL
SELECT 'remind', count(*), min(d.at), count(*) FILTER (WHERE d.at <= $4)
FROM (
    SELECT s.next_reminder_at AS at
    FROM subscriptions s
    WHERE s.status = 'active' AND s.source = 'trial' AND s.next_reminder_at <= $1
        AND NOT EXISTS (
            SELECT FROM parked p
            WHERE p.pass = 'notify-trials' AND p.subscription = s.id AND (p.next_try_at IS NULL OR p.next_try_at > $1)
        )
    ORDER BY s.next_reminder_at LIMIT $5
) d
UNION ALL
SELECT 'end', count(*), min(d.at), count(*) FILTER (WHERE d.at <= $4)
FROM (
    SELECT s.expires_at AS at
    FROM subscriptions s
    WHERE s.status = 'active' AND s.expires_at <= $1
        AND (NOT s.auto_renew OR s.source <> 'payment' OR s.expires_at <= $2)
    ORDER BY s.expires_at LIMIT $5
) d
UNION ALL
SELECT 'remove', count(*), min(d.at), count(*) FILTER (WHERE d.at <= $4)
FROM (
    SELECT s.ended_at AS at FROM subscriptions s WHERE s.status = 'expiring' ORDER BY s.ended_at LIMIT $5
) d
UNION ALL
SELECT 'deliver', count(*), min(d.at), count(*) FILTER (WHERE d.at <= $4)
FROM (
    SELECT n.not_before AS at
    FROM notices n
    WHERE n.status = 'pending' AND n.not_before <= $1
    ORDER BY n.not_before LIMIT $5
) d";

pub(super) const RIGHTS: &str = "-- status_rights
SELECT s.source, count(*) AS rows FROM subscriptions s WHERE s.status = 'active' GROUP BY s.source ORDER BY s.source";

pub(super) const WALLETS: &str = "-- status_wallets
SELECT coalesce(sum(a.balance_kopecks), 0)::bigint AS kopecks, count(*) FILTER (WHERE a.balance_kopecks > 0) AS filled
FROM accounts a
WHERE a.kind = 'wallet'";

// Days begin with a quarter of an hour, wherever the operator lives. What was moved by hand, and top-ups taken back, count
// as what wallets got less what they gave.
pub(super) const MONEY: &str = "-- status_money
SELECT
    m.renewals, least(m.renewed, 9223372036854775807)::bigint AS renewed_kopecks,
    m.purchases, least(m.sold, 9223372036854775807)::bigint AS sold_kopecks,
    m.top_ups, least(m.topped_up, 9223372036854775807)::bigint AS topped_up_kopecks,
    m.refunds, least(m.refunded, 9223372036854775807)::bigint AS refunded_kopecks,
    m.corrections, greatest(-9223372036854775808, least(m.corrected, 9223372036854775807))::bigint AS corrected_kopecks
FROM unnest($1, $2) WITH ORDINALITY AS d (begins, ends, day)
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(t.transfers) FILTER (WHERE t.kind = 'renewal'), 0)::bigint AS renewals,
        coalesce(sum(t.kopecks) FILTER (WHERE t.kind = 'renewal'), 0) AS renewed,
        coalesce(sum(t.transfers) FILTER (WHERE t.kind = 'purchase'), 0)::bigint AS purchases,
        coalesce(sum(t.kopecks) FILTER (WHERE t.kind = 'purchase'), 0) AS sold,
        coalesce(sum(t.transfers) FILTER (WHERE t.kind = 'top_up'), 0)::bigint AS top_ups,
        coalesce(sum(t.kopecks) FILTER (WHERE t.kind = 'top_up'), 0) AS topped_up,
        coalesce(sum(t.transfers) FILTER (WHERE t.kind = 'refund'), 0)::bigint AS refunds,
        coalesce(sum(t.kopecks) FILTER (WHERE t.kind = 'refund'), 0) AS refunded,
        coalesce(sum(t.transfers) FILTER (WHERE t.kind = 'correction'), 0)::bigint AS corrections,
        coalesce(sum(t.kopecks) FILTER (WHERE t.kind = 'correction'), 0) AS corrected
    FROM turnovers t
    WHERE t.begins >= d.begins AND t.begins < d.ends
) m
ORDER BY d.day";

pub(super) const OUTBOX: &str = "-- status_outbox
SELECT
    (SELECT count(*) FROM (
        SELECT FROM notices n WHERE n.status = 'pending' AND n.not_before > $1 LIMIT $2) n) AS later,
    (SELECT count(*) FROM (SELECT FROM notices n WHERE n.status = 'sending' LIMIT $2) n) AS sending,
    (SELECT count(*) FROM (SELECT FROM notices n WHERE n.status = 'dead' LIMIT $2) n) AS dead";

pub(super) const NODES: &str = "-- status_nodes
WITH closing AS (
    SELECT c.id
    FROM credentials c
    WHERE c.closed_at IS NOT NULL AND c.retired_at IS NULL
    ORDER BY c.closed_at LIMIT $1
), proven AS (
    SELECT r.node, count(*) AS rows FROM closing c JOIN removals r ON r.credential = c.id GROUP BY r.node
), seen AS (
    SELECT o.node, count(*) FILTER (WHERE NOT o.adopted) AS quarantined, count(*) FILTER (WHERE o.adopted) AS adopted
    FROM orphans o
    GROUP BY o.node
)
SELECT n.name, n.adopted_at, n.last_list_size, n.failures, n.next_try_at,
    (SELECT count(*) FROM closing) - coalesce(p.rows, 0) AS unproven,
    coalesce(s.quarantined, 0) AS quarantined, coalesce(s.adopted, 0) AS adopted
FROM nodes n
LEFT JOIN proven p ON p.node = n.name
LEFT JOIN seen s ON s.node = n.name
WHERE n.retired_at IS NULL
ORDER BY n.name";

pub(super) const PARKED: &str = "-- status_parked
SELECT p.pass, p.reason, count(*) AS rows, min(p.first_failed_at) AS since
FROM parked p
WHERE p.next_try_at IS NULL
GROUP BY p.pass, p.reason
ORDER BY count(*) DESC, p.pass COLLATE \"C\", p.reason
LIMIT $1";

// A run that was killed has the summary of a few seconds before; what it did is in the ledger and in the audit log all the
// same. What a run that observes counts was not done.
pub(super) const RUN_DAYS: &str = "-- status_run_days
SELECT p.pass, d.day, c.*
FROM unnest($1, $2) WITH ORDINALITY AS d (begins, ends, day)
CROSS JOIN unnest($3) AS p (pass)
CROSS JOIN LATERAL (
    SELECT count(*) AS runs,
        count(*) FILTER (WHERE r.exit_code NOT IN (0, 75)) AS bad_runs,
        coalesce(sum((r.summary #>> '{counts,renewed}')::bigint), 0)::bigint AS renewed,
        coalesce(sum((r.summary #>> '{counts,ended}')::bigint), 0)::bigint AS ended,
        coalesce(sum((r.summary #>> '{counts,reminded}')::bigint), 0)::bigint AS reminded,
        coalesce(sum((r.summary #>> '{counts,failed}')::bigint), 0)::bigint AS failed,
        coalesce(sum((r.summary #>> '{counts,parked}')::bigint), 0)::bigint AS parked,
        coalesce(sum((r.summary #>> '{notices,sent}')::bigint), 0)::bigint AS sent,
        coalesce(sum((r.summary #>> '{notices,dropped}')::bigint), 0)::bigint AS dropped,
        coalesce(sum((r.summary #>> '{notices,dead}')::bigint), 0)::bigint AS dead,
        percentile_disc(0.5) WITHIN GROUP (ORDER BY (r.summary #>> '{end_to_proof_seconds,p50}')::bigint)
            FILTER (WHERE (r.summary #>> '{counts,proven}')::bigint > 0) AS proof_p50,
        max((r.summary #>> '{end_to_proof_seconds,p99}')::bigint)
            FILTER (WHERE (r.summary #>> '{counts,proven}')::bigint > 0) AS proof_p99
    FROM runs r
    WHERE r.pass = p.pass AND r.started_at >= d.begins AND r.started_at < d.ends AND r.mode <> 'observe'
) c
WHERE c.runs > 0
ORDER BY d.day, p.pass COLLATE \"C\"";

pub(super) const FORECAST: &str = "-- status_forecast
SELECT f.day,
    (SELECT count(*) FROM subscriptions s
        WHERE s.status = 'active' AND s.expires_at >= f.begins AND s.expires_at < f.ends) AS rows,
    (SELECT count(*) FROM subscriptions s
        WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment'
            AND s.expires_at >= f.begins AND s.expires_at < f.ends) AS renewing
FROM unnest($1, $2) WITH ORDINALITY AS f (begins, ends, day)
ORDER BY f.day";
