-- How the service stands, a row a figure: name, value, whether it is money.
WITH due AS (
    SELECT s.id, w.balance_kopecks AS balance, t.active AS sold,
        price_kopecks(t.price_kopecks, s.agreed_price_kopecks, u.vip, d.percent) AS price
    FROM subscriptions s
    JOIN users u ON u.telegram_id = s.telegram_id
    JOIN accounts w ON w.telegram_id = s.telegram_id AND w.kind = 'wallet'
    LEFT JOIN tariffs t ON t.code = s.tariff
    LEFT JOIN discounts d ON d.telegram_id = s.telegram_id AND (d.ends_at IS NULL OR d.ends_at > now())
    LEFT JOIN parked p ON p.pass = 'renew' AND p.subscription = s.id AND p.next_try_at IS NULL
    WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment' AND p.subscription IS NULL
        AND s.expires_at > now() - interval '15 minutes' AND s.expires_at <= now() + interval '6 hours'
)
SELECT f.name, f.value, f.is_money
FROM (
    SELECT 1 AS place, 'customers' AS name, count(*) AS value, false AS is_money FROM users
    UNION ALL SELECT 2, 'active subscriptions', count(*), false FROM subscriptions s WHERE s.status = 'active'
    UNION ALL SELECT 3, 'due now', count(*), false FROM due
    UNION ALL SELECT 4, '  the wallet covers it', count(*), false FROM due WHERE sold AND balance >= price
    UNION ALL SELECT 5, '  the wallet is short', count(*), false FROM due WHERE sold AND balance < price
    UNION ALL SELECT 6, '  tariff withdrawn or unknown', count(*), false FROM due WHERE NOT coalesce(sold, false)
    UNION ALL SELECT 7, 'parked for renew', count(*), false
        FROM parked p WHERE p.next_try_at IS NULL AND p.pass = 'renew'
    UNION ALL SELECT 8, 'in wallets', coalesce(sum(a.balance_kopecks), 0)::bigint, true
        FROM accounts a WHERE a.kind = 'wallet'
    UNION ALL SELECT 9, 'revenue',
        coalesce(sum(CASE WHEN t.credit_account = 1 THEN t.amount_kopecks ELSE -t.amount_kopecks END), 0)::bigint, true
        FROM transfers t WHERE 1 IN (t.credit_account, t.debit_account)
    UNION ALL SELECT 10, 'transfers', count(*), false FROM transfers
    UNION ALL SELECT 11, 'paid periods', count(*), false FROM payments
    UNION ALL SELECT 12, 'receipts', count(*), false FROM notices n WHERE n.kind = 'renewed'
    UNION ALL SELECT 13, 'warnings of a short balance', count(*), false FROM notices n WHERE n.kind = 'balance_short'
    UNION ALL SELECT 14, 'announced charges', count(*), false FROM notices n WHERE n.kind = 'charge_ahead'
    UNION ALL SELECT 15, 'audit rows', count(*), false FROM audit_log
) f
ORDER BY f.place
