-- A user has at most one open credential in a group.
SELECT format('user %s', c.telegram_id) AS subject,
    format('has %s open credentials in group %s', count(*), c.access_group) AS problem
FROM credentials c
WHERE c.closed_at IS NULL
GROUP BY c.telegram_id, c.access_group
HAVING count(*) > 1;
