-- No wallet is below zero.
SELECT format('wallet %s of user %s', w.id, w.telegram_id) AS subject,
    format('holds %s kopecks', w.balance_kopecks) AS problem
FROM accounts w
WHERE w.kind = 'wallet' AND w.balance_kopecks < 0;
