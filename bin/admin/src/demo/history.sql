-- Writes the made-up people down as the passes and the bot would have: users, credentials, subscriptions, transfers,
-- payments, audit rows, receipts, in the order of time. Comes after people.sql, in the same transaction.

INSERT INTO users (telegram_id, language, time_zone, vip, telegram_unreachable_since, created_at)
SELECT p.id, p.language, p.time_zone, p.vip,
    CASE WHEN pg_temp.roll('reach', p.id, 50) = 0
        THEN now() - make_interval(hours => pg_temp.roll('lost', p.id, 200)::integer) END,
    least(now() - interval '12 days', (SELECT min(t.at) FROM top_ups t WHERE t.id = p.id),
        (SELECT min(q.at) FROM periods q WHERE q.id = p.id))
        - interval '4 days' - make_interval(mins => pg_temp.roll('came', p.id, 9000)::integer)
FROM people p
ORDER BY p.id;

INSERT INTO discounts (telegram_id, percent, ends_at)
SELECT p.id, p.discount, now() + interval '90 days' FROM people p WHERE p.discount IS NOT NULL;

INSERT INTO credentials (telegram_id, access_group, uuid, created_at, closed_at, retired_at)
SELECT p.id, p.access_group, md5(concat_ws(':', current_setting('demo.seed'), 'uuid', p.id))::uuid,
    coalesce(b.starts - CASE WHEN p.tried THEN interval '80 hours' ELSE interval '0' END, now() - interval '12 days'),
    CASE WHEN p.kind LIKE 'ended%' THEN p.ends + interval '20 seconds'
        WHEN p.kind = 'trial over' THEN now() - interval '1 day' END,
    CASE p.kind WHEN 'ended long ago' THEN p.ends + interval '25 seconds'
        WHEN 'trial over' THEN now() - interval '1 day' + interval '5 seconds' END
FROM people p
LEFT JOIN periods b ON b.id = p.id AND b.n = 0
WHERE p.kind <> 'only looking'
ORDER BY p.id;

-- Paid ones.
INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, status, starts_at, expires_at, anchor_day,
    auto_renew, agreed_price_kopecks, last_auto_renewal_at, ended_at, expired_at, created_at)
SELECT p.id, 'payment', p.tariff, CASE WHEN p.kind <> 'ended long ago' THEN c.id END,
    CASE p.kind WHEN 'ended long ago' THEN 'expired' WHEN 'ended just now' THEN 'expiring' ELSE 'active' END,
    b.starts, p.ends, p.anchor, p.auto_renew, p.agreed,
    (SELECT max(q.at) FROM periods q WHERE q.id = p.id AND q.by_renew),
    CASE WHEN p.kind LIKE 'ended%' THEN p.ends + interval '20 seconds' END,
    CASE WHEN p.kind = 'ended long ago' THEN p.ends + interval '25 seconds' END,
    b.starts
FROM people p
JOIN periods b ON b.id = p.id AND b.n = 0
JOIN credentials c ON c.telegram_id = p.id
ORDER BY p.id;

-- Free ones: trials, days given away, and the trials with which customers began.
INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, status, starts_at, expires_at, anchor_day,
    ended_at, expired_at, created_at)
SELECT f.id, f.source, f.tariff, CASE WHEN f.ended_at IS NULL THEN c.id END,
    CASE WHEN f.ended_at IS NULL THEN 'active' ELSE 'expired' END, f.starts, f.starts + f.lasts,
    extract(day FROM f.starts AT TIME ZONE 'UTC'), f.ended_at, f.ended_at + interval '5 seconds', f.starts
FROM (
    SELECT p.id, 'trial' AS source, p.tariff,
        now() - make_interval(mins => 30 + pg_temp.roll('began', p.id, 4200)::integer) AS starts,
        interval '72 hours' AS lasts, NULL::timestamptz AS ended_at
    FROM people p WHERE p.kind = 'trial'
    UNION ALL
    SELECT p.id, 'trial', p.tariff, now() - interval '4 days', interval '72 hours', now() - interval '1 day'
    FROM people p WHERE p.kind = 'trial over'
    UNION ALL
    SELECT p.id, 'grant', p.tariff, now() - make_interval(mins => pg_temp.roll('began', p.id, 14000)::integer),
        interval '14 days', NULL
    FROM people p WHERE p.kind = 'grant'
    UNION ALL
    SELECT p.id, 'trial', p.tariff, b.starts - interval '80 hours', interval '72 hours', b.starts - interval '8 hours'
    FROM people p JOIN periods b ON b.id = p.id AND b.n = 0
    WHERE p.tried
) f
JOIN credentials c ON c.telegram_id = f.id
ORDER BY f.starts, f.id;

-- The ledger, with the balance after each line, which the audit rows tell, too.
ANALYZE users, credentials, subscriptions, accounts;
CREATE TEMP TABLE ledger ON COMMIT DROP AS
SELECT m.*, w.id AS wallet, s.id AS subscription_id,
    sum(m.kopecks) OVER (PARTITION BY m.id ORDER BY m.at, m.kopecks DESC)::bigint AS balance,
    CASE
        WHEN m.n IS NULL THEN concat('top_up:demo:', m.id, ':', m.name)
        WHEN m.by_renew THEN concat('renew:', s.id, ':', (extract(epoch FROM m.starts) * 1000000)::bigint)
        ELSE concat('buy:demo:', m.id, ':', m.n)
    END AS key
FROM (
    SELECT t.id, t.at, t.kopecks, t.name, NULL::integer AS n, false AS by_renew, NULL::timestamptz AS starts,
        NULL::timestamptz AS ends
    FROM top_ups t
    UNION ALL
    SELECT q.id, q.at, -p.price, NULL, q.n, q.by_renew, q.starts, q.ends FROM periods q JOIN people p ON p.id = q.id
) m
JOIN accounts w ON w.kind = 'wallet' AND w.telegram_id = m.id
LEFT JOIN subscriptions s ON s.telegram_id = m.id AND s.source = 'payment';
ANALYZE ledger;

INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks, created_at)
SELECT l.key, CASE WHEN l.n IS NULL THEN 'top_up' ELSE 'charge' END, CASE WHEN l.n IS NULL THEN 2 ELSE l.wallet END,
    CASE WHEN l.n IS NULL THEN l.wallet ELSE 1 END, abs(l.kopecks), l.at
FROM ledger l
WHERE l.kopecks <> 0
ORDER BY l.at, l.id, l.kopecks DESC;

INSERT INTO payments (subscription_id, tariff, period_start, period_end, amount_kopecks, transfer_id, created_at)
SELECT l.subscription_id, p.tariff, l.starts, l.ends, -l.kopecks, t.id, l.at
FROM ledger l
JOIN people p ON p.id = l.id
LEFT JOIN transfers t ON t.idempotency_key = l.key
WHERE l.n IS NOT NULL
ORDER BY l.at, l.id;

INSERT INTO audit_log (at, actor, action, telegram_id, subscription_id, before, after, reason)
SELECT a.at, a.actor, a.action, a.id, a.subscription_id, a.before, a.after, a.reason
FROM (
    SELECT l.at, 'bot' AS actor, 'topped_up' AS action, l.id, NULL::bigint AS subscription_id,
        jsonb_build_object('balance_kopecks', l.balance - l.kopecks) AS before,
        jsonb_build_object('balance_kopecks', l.balance) AS after, concat('demo:', l.id, ':', l.name) AS reason
    FROM ledger l WHERE l.n IS NULL
    UNION ALL
    SELECT l.at, CASE WHEN l.by_renew THEN 'renew' ELSE 'bot' END,
        CASE WHEN l.by_renew THEN 'renewed' ELSE 'bought' END,
        l.id, l.subscription_id,
        CASE WHEN l.n > 0 THEN jsonb_build_object('expires_at', l.starts, 'balance_kopecks', l.balance - l.kopecks) END,
        jsonb_build_object('expires_at', l.ends, 'balance_kopecks', l.balance, 'amount_kopecks', -l.kopecks,
            'tariff', p.tariff),
        CASE WHEN NOT l.by_renew THEN concat('demo:', l.id, ':', l.n) END
    FROM ledger l JOIN people p ON p.id = l.id WHERE l.n IS NOT NULL
    UNION ALL
    SELECT s.starts_at, 'bot', CASE s.source WHEN 'trial' THEN 'trial_started' ELSE 'granted' END, s.telegram_id, s.id,
        NULL, jsonb_build_object('status', 'active', 'tariff', s.tariff, 'expires_at', s.expires_at),
        concat('demo:', s.telegram_id)
    FROM subscriptions s JOIN people p ON p.id = s.telegram_id WHERE s.source <> 'payment'
    UNION ALL
    SELECT s.ended_at, 'expire-fast', 'ended', s.telegram_id, s.id, jsonb_build_object('status', 'active'),
        jsonb_build_object('status', 'expiring', 'source', s.source), 'over'
    FROM subscriptions s JOIN people p ON p.id = s.telegram_id WHERE s.ended_at IS NOT NULL
) a
ORDER BY a.at, a.id;

-- Receipts were sent at once.
INSERT INTO notices (telegram_id, kind, dedupe_key, params, subscription_id, not_before, status, attempts, created_at,
    sent_at)
SELECT l.id, 'renewed', replace(l.key, 'renew:', 'renewed:'),
    jsonb_build_object('tariff', p.tariff, 'amount_kopecks', -l.kopecks, 'balance_kopecks', l.balance,
        'until', (extract(epoch FROM l.ends) * 1000000)::bigint),
    l.subscription_id, l.at, 'sent', 1, l.at, l.at + interval '1 second'
FROM ledger l
JOIN people p ON p.id = l.id
WHERE l.by_renew
ORDER BY l.at, l.id;
