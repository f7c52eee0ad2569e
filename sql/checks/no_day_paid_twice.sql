-- No two payments that stand are for the same day of a subscription. (Voided ones gave their days back.)
SELECT format('payment %s of subscription %s', p.id, p.subscription_id) AS subject,
    format('is for %s to %s, but days up to %s were paid for before', p.period_start AT TIME ZONE 'UTC',
        p.period_end AT TIME ZONE 'UTC', p.paid_until AT TIME ZONE 'UTC') AS problem
FROM (
    SELECT q.id, q.subscription_id, q.period_start, q.period_end,
        -- The latest end so far, not that of the row before: a long period may cover several.
        max(q.period_end) OVER (
            PARTITION BY q.subscription_id ORDER BY q.period_start
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS paid_until
    FROM payments q
    WHERE q.voided_at IS NULL
) p
WHERE p.paid_until > p.period_start;
