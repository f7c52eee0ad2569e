-- What the audit log calls renewed was paid for, and what renew charged stands in the audit log: same moment, same
-- period, same amount. A payment free of charge was a renewal or has another audit row of its moment that says 0.
WITH renewed AS (
    SELECT a.id, a.subscription_id, a.at, a.after ->> 'amount_kopecks' AS amount,
        -- A cast of what is no time would end the whole check instead of naming the row.
        CASE WHEN a.before ->> 'expires_at' LIKE '____-__-__T__:__:__%'
            THEN (a.before ->> 'expires_at')::timestamptz END AS period_start,
        CASE WHEN a.after ->> 'expires_at' LIKE '____-__-__T__:__:__%'
            THEN (a.after ->> 'expires_at')::timestamptz END AS period_end
    FROM audit_log a
    WHERE a.action = 'renewed'
),
paid AS (
    SELECT p.id, p.subscription_id, p.created_at, p.period_start, p.period_end, p.amount_kopecks,
        coalesce(t.idempotency_key LIKE 'renew:%', false) AS by_renew
    FROM payments p
    LEFT JOIN transfers t ON t.id = p.transfer_id
    WHERE p.amount_kopecks = 0 OR t.idempotency_key LIKE 'renew:%'
),
free_otherwise AS (
    SELECT a.subscription_id, a.at
    FROM audit_log a
    WHERE a.action <> 'renewed' AND a.after ->> 'amount_kopecks' = '0'
    GROUP BY a.subscription_id, a.at
)
SELECT CASE
        WHEN p.id IS NULL THEN format('audit row %s of subscription %s', r.id, r.subscription_id)
        ELSE format('payment %s of subscription %s', p.id, p.subscription_id)
    END AS subject,
    CASE
        WHEN p.id IS NULL THEN format('says renewed from %s to %s for %s kopecks, but there is no such payment',
            r.period_start AT TIME ZONE 'UTC', r.period_end AT TIME ZONE 'UTC', r.amount)
        WHEN p.by_renew THEN format('was charged by renew (%s to %s for %s kopecks), but no audit row says so',
            p.period_start AT TIME ZONE 'UTC', p.period_end AT TIME ZONE 'UTC', p.amount_kopecks)
        ELSE 'was free of charge, but no audit row of that moment says so'
    END AS problem
FROM renewed r
FULL JOIN paid p ON p.subscription_id = r.subscription_id
    AND p.created_at = r.at
    AND p.period_start = r.period_start
    AND p.period_end = r.period_end
    AND p.amount_kopecks::text = r.amount
LEFT JOIN free_otherwise f ON NOT p.by_renew AND f.subscription_id = p.subscription_id AND f.at = p.created_at
WHERE p.id IS NULL OR (r.id IS NULL AND f.at IS NULL);
