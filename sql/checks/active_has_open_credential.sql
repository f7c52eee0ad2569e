-- An active subscription has a credential, which is open and its own user's.
SELECT format('subscription %s of user %s', s.id, s.telegram_id) AS subject,
    CASE
        WHEN s.credential_id IS NULL THEN 'is active without a credential'
        WHEN c.id IS NULL THEN format('is active on credential %s, which is not there', s.credential_id)
        WHEN c.telegram_id <> s.telegram_id
            THEN format('is active on credential %s of user %s', c.id, c.telegram_id)
        ELSE format('is active on credential %s, which was closed at %s', c.id, c.closed_at AT TIME ZONE 'UTC')
    END AS problem
FROM subscriptions s
LEFT JOIN credentials c ON c.id = s.credential_id
WHERE s.status = 'active' AND (c.id IS NULL OR c.telegram_id <> s.telegram_id OR c.closed_at IS NOT NULL);
