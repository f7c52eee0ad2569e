-- The ledger alone says it, too: renew has charged each period of a subscription at most once, apart from charges that
-- were taken back. (Key: renew, subscription, start of the period, number of a charge after a refund.)
SELECT format('subscription %s', split_part(c.idempotency_key, ':', 2)) AS subject,
    format('was charged %s times for the period that starts at %s', count(*), split_part(c.idempotency_key, ':', 3))
        AS problem
FROM transfers c
LEFT JOIN (SELECT v.reverses FROM transfers v WHERE v.reverses IS NOT NULL) r ON r.reverses = c.id
WHERE c.kind = 'charge' AND c.idempotency_key LIKE 'renew:%' AND r.reverses IS NULL
GROUP BY split_part(c.idempotency_key, ':', 2), split_part(c.idempotency_key, ':', 3)
HAVING count(*) > 1;
