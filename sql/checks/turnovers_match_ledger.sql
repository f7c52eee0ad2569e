-- The sums that status and metrics show are those of the ledger. (SELECT turnovers_rebuild() adds them up anew.)
SELECT format('turnover of %s on %s', kind, to_char(day AT TIME ZONE 'UTC', 'YYYY-MM-DD')) AS subject,
    format('holds %s kopecks of %s transfers, the ledger %s of %s', coalesce(k.kopecks, 0), coalesce(k.transfers, 0),
        coalesce(l.kopecks, 0), coalesce(l.transfers, 0)) AS problem
FROM (
    SELECT date_trunc('day', t.begins, 'UTC') AS day, t.kind, sum(t.transfers) AS transfers, sum(t.kopecks) AS kopecks
    FROM turnovers t
    GROUP BY 1, 2
) k
FULL JOIN (
    SELECT date_trunc('day', t.created_at, 'UTC') AS day,
        turnover_kind(t.debit_account, t.credit_account, t.idempotency_key) AS kind, count(*) AS transfers,
        sum(CASE WHEN t.credit_account IN (2, 3) THEN -t.amount_kopecks ELSE t.amount_kopecks END) AS kopecks
    FROM transfers t
    GROUP BY 1, 2
) l USING (day, kind)
WHERE (k.transfers, k.kopecks) IS DISTINCT FROM (l.transfers, l.kopecks);
