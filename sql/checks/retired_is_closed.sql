-- A credential that is proven gone was closed before.
SELECT format('credential %s of user %s', c.id, c.telegram_id) AS subject,
    format('was retired at %s and is not closed', c.retired_at AT TIME ZONE 'UTC') AS problem
FROM credentials c
WHERE c.retired_at IS NOT NULL AND c.closed_at IS NULL;
