-- A subscription has a credential exactly until its removal is proven: null when expired, never before.
SELECT format('subscription %s of user %s', s.id, s.telegram_id) AS subject,
    CASE
        WHEN s.status = 'expired' THEN format('is expired, but still has credential %s', s.credential_id)
        ELSE format('is %s without a credential', s.status)
    END AS problem
FROM subscriptions s
WHERE (s.credential_id IS NULL) <> (s.status = 'expired');
