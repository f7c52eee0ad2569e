INSERT INTO tariffs VALUES ('basic_1m', 'basic', 'month', 1, 19900, true);
INSERT INTO users (telegram_id, created_at)
SELECT id, '2026-01-01Z' FROM generate_series(1, 5) AS id;
INSERT INTO credentials (id, telegram_id, created_at, closed_at)
SELECT id, id, '2026-01-01Z', CASE WHEN id = 4 THEN timestamptz '2026-02-21 11:59:00Z' END FROM generate_series(1, 4) AS id;

-- 1 is due for renewal, 2 is past its end and nobody ended it, 3 is a trial to be reminded, 4 is taken off the servers.
INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, status, starts_at, expires_at, auto_renew,
    next_reminder_at, ended_at) VALUES
    (1, 1, 'payment', 'basic_1m', 1, 'active', '2026-01-21 15:00:00Z', '2026-02-21 15:00:00Z', true, NULL, NULL),
    (2, 2, 'payment', 'basic_1m', 2, 'active', '2026-01-21 11:00:00Z', '2026-02-21 11:00:00Z', false, NULL, NULL),
    (3, 3, 'trial', 'basic_1m', 3, 'active', '2026-02-20 09:00:00Z', '2026-02-23 09:00:00Z', false,
        NULL, NULL),
    (4, 4, 'payment', 'basic_1m', 4, 'expiring', '2026-01-21 11:59:00Z', '2026-02-21 11:59:00Z', false, NULL,
        '2026-02-21 11:59:00Z');

-- The schema has set the first look of a new trial to its start.
UPDATE subscriptions SET next_reminder_at = '2026-02-21 11:58:00Z' WHERE id = 3;

-- Moscow's day began at 21:00 of the day before.
INSERT INTO transfers (id, idempotency_key, kind, debit_account, credit_account, amount_kopecks, reverses, created_at)
SELECT t.id, t.key, t.kind, coalesce(t.debit, w.id), coalesce(t.credit, w.id), t.kopecks, t.reverses, t.at
FROM accounts w, (VALUES
    (1, 'top_up:old', 'top_up', 2, NULL, 90000, NULL, timestamptz '2026-02-20 20:59:59Z'),
    (2, 'top_up:new', 'top_up', 2, NULL, 50000, NULL, '2026-02-20 21:00:00Z'),
    (3, 'renew:9:1', 'charge', NULL, 1, 19900, NULL, '2026-02-21 03:00:00Z'),
    (4, 'buy:tap', 'charge', NULL, 1, 9900, NULL, '2026-02-21 04:00:00Z'),
    (5, 'refund:oops', 'reversal', 1, NULL, 9900, 4, '2026-02-21 05:00:00Z'),
    (6, 'by-hand', 'adjustment', NULL, 3, 100, NULL, '2026-02-21 06:00:00Z')
) AS t (id, key, kind, debit, credit, kopecks, reverses, at)
WHERE w.telegram_id = 5;
-- What the transfers above were about, so that the books are right.
INSERT INTO credentials (id, telegram_id, created_at) VALUES (5, 5, '2026-01-01Z');
INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, status, starts_at, expires_at, ended_at, expired_at)
VALUES (9, 5, 'payment', 'basic_1m', NULL, 'expired', '2026-01-01Z', '2026-02-01Z', '2026-02-01Z', '2026-02-01Z');
INSERT INTO payments (subscription_id, tariff, period_start, period_end, amount_kopecks, transfer_id, created_at, voided_at)
VALUES
    (9, 'basic_1m', '2026-01-01Z', '2026-02-01Z', 19900, 3, '2026-02-21 03:00:00Z', NULL),
    (9, 'basic_1m', '2026-02-01Z', '2026-03-01Z', 9900, 4, '2026-02-21 04:00:00Z', '2026-02-21 05:00:00Z');
INSERT INTO audit_log (at, actor, action, telegram_id, subscription_id, before, after) VALUES
    ('2026-02-21 03:00:00Z', 'renew', 'renewed', 5, 9, '{"expires_at": "2026-01-01T00:00:00Z"}',
        '{"expires_at": "2026-02-01T00:00:00Z", "amount_kopecks": 19900}');

INSERT INTO notices (telegram_id, kind, dedupe_key, not_before, status, lease_until, created_at) VALUES
    (1, 'trial_ending', 'a', '2026-02-21 11:57:00Z', 'pending', NULL, '2026-02-21 11:57:00Z'),
    (1, 'trial_ending', 'b', '2026-02-21 18:00:00Z', 'pending', NULL, '2026-02-21 11:57:00Z'),
    (1, 'trial_ending', 'c', '2026-02-21 11:57:00Z', 'sending', '2026-02-21 12:01:00Z', '2026-02-21 11:57:00Z'),
    (1, 'trial_ending', 'd', '2026-02-21 10:00:00Z', 'dead', NULL, '2026-02-21 10:00:00Z');

INSERT INTO nodes (name, adopted_at, last_list_size, failures, retired_at) VALUES
    ('de-1', '2026-01-01Z', 4, 0, NULL), ('nl-2', '2026-01-01Z', 2, 4, NULL), ('old', '2026-01-01Z', 2, 4, '2026-02-01Z');
INSERT INTO removals VALUES (4, 'de-1', '2026-02-21 11:59:30Z');
INSERT INTO orphans (node, inbound, email, first_seen_at, last_seen_at, adopted) VALUES
    ('de-1', 'vless', 'p.99', '2026-02-21 11:50:00Z', '2026-02-21 11:50:00Z', false),
    ('de-1', 'vless', 'someone', '2026-01-01Z', '2026-01-01Z', true);
INSERT INTO parked (pass, subscription, tries, reason, first_failed_at, last_failed_at, next_try_at) VALUES
    ('renew', 7, 3, 'tariff gone_1m is not sold', '2026-02-20 08:00:00Z', '2026-02-20 09:00:00Z', NULL),
    ('renew', 8, 1, 'only counted so far', '2026-02-20 08:00:00Z', '2026-02-20 09:00:00Z', '2026-02-21 13:00:00Z');

INSERT INTO runs (run_id, pass, version, started_at, finished_at, outcome, exit_code, summary)
SELECT gen_random_uuid(), r.pass, '0.1.0', r.at::timestamptz, r.at::timestamptz + r.took, r.outcome, r.code, r.summary::jsonb
FROM (VALUES
    ('renew', '2026-02-21 11:50:00Z', interval '1.25 s', 'done', 0,
        '{"counts": {"listed": 3, "renewed": 2, "short": 1, "parked": 0, "busy": 0, "failed": 0, "left": 0},
          "notices": {"written": 3, "sent": 3, "dropped": 1, "dead": 0, "waiting": 0}, "error": null,
          "warnings": ["1 notices wait: there is no bot token (telegram.token_file)"]}'),
    ('renew', '2026-02-21 11:40:00Z', interval '2 s', 'failed', 69, '{"counts": {}, "error": "gone"}'),
    ('renew', '2026-02-20 20:50:00Z', interval '2 s', 'done', 0,
        '{"counts": {"renewed": 100}, "notices": {"sent": 100}, "error": null}'),
    ('expire-fast', '2026-02-21 11:59:20Z', interval '0.3 s', 'refused', 4,
        '{"counts": {"listed": 9, "left": 9}, "error": "9 of 12 active rows are due at once"}'),
    ('expire-fast', '2026-02-21 11:58:20Z', interval '0.3 s', 'refused', 4,
        '{"counts": {"listed": 9, "left": 9}, "error": "9 of 12 active rows are due at once"}'),
    ('reconcile-xray', '2026-02-21 11:55:00Z', interval '61 s', 'partial', 3,
        '{"counts": {}, "error": null, "nodes": [
            {"name": "de-1", "reachable": true, "listed": 4, "entitled": 3, "removed": 1, "restored": 3, "quarantined": 0},
            {"name": "nl-2", "reachable": false, "listed": 0, "refused_because": null}]}')
) AS r (pass, at, took, outcome, code, summary);
-- One run that was killed, and one under way.
INSERT INTO runs (run_id, pass, version, started_at, finished_at) VALUES
    (gen_random_uuid(), 'notify-trials', '0.1.0', '2026-02-21 10:00:00Z', NULL),
    (gen_random_uuid(), 'reconcile-xray', '0.1.0', '2026-02-21 11:59:48Z', NULL);
