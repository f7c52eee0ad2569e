-- A reversal takes back one transfer, whole, once: accounts swapped, same amount, never of a reversal.
SELECT format('transfer %s', r.id) AS subject,
    CASE
        WHEN r.kind <> 'reversal' THEN format('is of kind %s and takes back transfer %s', r.kind, r.reverses)
        WHEN r.reverses IS NULL THEN 'is a reversal of nothing'
        WHEN t.id IS NULL THEN format('takes back transfer %s, which is not there', r.reverses)
        WHEN t.reverses IS NOT NULL THEN format('takes back transfer %s, which is a reversal itself', t.id)
        WHEN r.times > 1 THEN format('is one of %s that take back transfer %s', r.times, t.id)
        ELSE format('moves %s kopecks from %s to %s, but transfer %s moved %s from %s to %s', r.amount_kopecks,
            r.debit_account, r.credit_account, t.id, t.amount_kopecks, t.debit_account, t.credit_account)
    END AS problem
FROM (
    SELECT v.*, count(*) OVER (PARTITION BY v.reverses) AS times
    FROM transfers v
    WHERE v.kind = 'reversal' OR v.reverses IS NOT NULL
) r
LEFT JOIN transfers t ON t.id = r.reverses
WHERE r.kind <> 'reversal' OR t.id IS NULL OR t.reverses IS NOT NULL OR r.times > 1
    OR (r.debit_account, r.credit_account, r.amount_kopecks) <> (t.credit_account, t.debit_account, t.amount_kopecks);
