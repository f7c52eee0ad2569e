-- A user has had at most one trial.
SELECT format('user %s', s.telegram_id) AS subject, format('has had %s trials', count(*)) AS problem
FROM subscriptions s
WHERE s.source = 'trial'
GROUP BY s.telegram_id
HAVING count(*) > 1;
