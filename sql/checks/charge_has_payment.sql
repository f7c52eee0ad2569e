-- Every charge paid for exactly one period.
SELECT format('transfer %s (%s)', t.id, t.idempotency_key) AS subject,
    CASE
        WHEN p.payments IS NULL THEN format('charged %s kopecks, but no payment names it', t.amount_kopecks)
        ELSE format('is named by %s payments', p.payments)
    END AS problem
FROM transfers t
LEFT JOIN (
    SELECT q.transfer_id, count(*) AS payments FROM payments q WHERE q.transfer_id IS NOT NULL GROUP BY q.transfer_id
) p ON p.transfer_id = t.id
WHERE t.kind = 'charge' AND p.payments IS DISTINCT FROM 1;
