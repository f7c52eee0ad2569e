-- Every user has exactly one wallet, and every wallet a user.
SELECT format('user %s', coalesce(u.telegram_id, w.telegram_id)) AS subject,
    CASE
        WHEN u.telegram_id IS NULL THEN 'has a wallet, but is no user'
        WHEN w.wallets IS NULL THEN 'has no wallet'
        ELSE format('has %s wallets', w.wallets)
    END AS problem
FROM users u
FULL JOIN (
    SELECT a.telegram_id, count(*) AS wallets FROM accounts a WHERE a.kind = 'wallet' GROUP BY a.telegram_id
) w ON w.telegram_id = u.telegram_id
WHERE u.telegram_id IS NULL OR w.wallets IS DISTINCT FROM 1;
