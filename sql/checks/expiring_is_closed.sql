-- What has ended stands on a credential that is closed, unless an active row still uses it: an open one is served for ever.
SELECT format('subscription %s of user %s', s.id, s.telegram_id) AS subject,
    format('is expiring on credential %s, which is open', c.id) AS problem
FROM subscriptions s
JOIN credentials c ON c.id = s.credential_id
LEFT JOIN subscriptions a ON a.credential_id = s.credential_id AND a.status = 'active'
WHERE s.status = 'expiring' AND c.closed_at IS NULL AND a.id IS NULL;
