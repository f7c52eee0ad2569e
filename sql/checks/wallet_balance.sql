-- A wallet holds what its transfers brought in less what they took out.
SELECT format('wallet %s of user %s', w.id, w.telegram_id) AS subject,
    format('holds %s kopecks, its transfers say %s', w.balance_kopecks, coalesce(moved.kopecks, 0)) AS problem
FROM accounts w
LEFT JOIN (
    SELECT m.account, sum(m.kopecks) AS kopecks
    FROM (
        -- The system accounts have the ids 1 to 3 and no balance; left out, they spare half of the rows.
        SELECT t.credit_account AS account, t.amount_kopecks AS kopecks FROM transfers t WHERE t.credit_account > 3
        UNION ALL
        SELECT t.debit_account, -t.amount_kopecks FROM transfers t WHERE t.debit_account > 3
    ) m
    GROUP BY m.account
) moved ON moved.account = w.id
WHERE w.kind = 'wallet' AND w.balance_kopecks IS DISTINCT FROM coalesce(moved.kopecks, 0);
