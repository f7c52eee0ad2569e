-- A service of $N active subscriptions that has run for three months: each is charged and topped up once in 30 days, and the
-- passes report as often as their timers have them. Triggers are off, so it is written in a few minutes.
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO tariffs (code, access_group, period_unit, period_count, price_kopecks, active)
VALUES ('basic_1m', 'basic', 'month', 1, 19900, true);
INSERT INTO users (telegram_id) SELECT generate_series(1, $N * 13 / 10);
INSERT INTO accounts (id, kind, telegram_id, balance_kopecks)
SELECT telegram_id + 1000, 'wallet', telegram_id, 19900 * (telegram_id % 3) FROM users;
INSERT INTO credentials (id, telegram_id, email, closed_at, retired_at)
SELECT telegram_id, telegram_id, 'p.' || telegram_id, over.at, over.at
FROM users, LATERAL (SELECT CASE WHEN telegram_id > $N THEN now() END AS at) over;
INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, status, starts_at, expires_at, anchor_day, auto_renew)
SELECT n, n, CASE WHEN n % 50 = 0 THEN 'trial' ELSE 'payment' END, 'basic_1m', CASE WHEN n <= $N THEN n END,
    CASE WHEN n <= $N THEN 'active' ELSE 'expired' END, now() - interval '30 days',
    now() + n * (interval '30 days' / $N), 1, n % 10 > 0
FROM (SELECT telegram_id AS n FROM users) u;
INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks, created_at)
SELECT
    CASE WHEN n % 2 = 0 THEN 'top_up:' || n WHEN n % 20 = 1 THEN 'buy:' || n ELSE 'renew:' || n || ':1795925576351467' END,
    CASE WHEN n % 2 = 0 THEN 'top_up' ELSE 'charge' END,
    CASE WHEN n % 2 = 0 THEN 2 ELSE 1001 + n * 7919 % $N END,
    CASE WHEN n % 2 = 0 THEN 1001 + n * 7919 % $N ELSE 1 END,
    19900, now() - interval '90 days' + n * (interval '15 days' / $N)
FROM generate_series(1::bigint, $N * 6) AS n;
INSERT INTO runs (run_id, pass, version, started_at, finished_at, outcome, exit_code, summary)
SELECT gen_random_uuid(), p.pass, '0', t, t + interval '3 seconds', 'done', 0, jsonb_build_object(
    'counts', jsonb_build_object('listed', 231, 'renewed', 231, 'ended', 3, 'proven', 3, 'failed', 0, 'parked', 0, 'left', 0),
    'notices', jsonb_build_object('written', 3, 'sent', 7, 'dropped', 0, 'dead', 0, 'waiting', 0),
    'end_to_proof_seconds', jsonb_build_object('p50', 20, 'p99', 60, 'oldest', 0), 'nodes', '[]'::jsonb)
FROM (VALUES ('renew', interval '10 min'), ('reconcile-xray', '10 min'), ('notify-trials', '5 min'), ('expire-fast', '1 min'))
        AS p (pass, every),
    generate_series(now() - interval '90 days', now(), p.every) AS t;
SET session_replication_role = origin;
SELECT turnovers_rebuild();
VACUUM (ANALYZE);
CHECKPOINT
