-- A user has at most one active subscription of a source.
SELECT format('user %s', s.telegram_id) AS subject,
    format('has %s active subscriptions of source %s', count(*), s.source) AS problem
FROM subscriptions s
WHERE s.status = 'active'
GROUP BY s.telegram_id, s.source
HAVING count(*) > 1;
