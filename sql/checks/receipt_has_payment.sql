-- Nobody is told of a renewal that did not happen: every receipt has a payment (voided or not) of its subscription and
-- period. (Key: renewed, subscription, start of the period in microseconds, number of a charge after a refund.)
SELECT format('notice %s to user %s', n.id, n.telegram_id) AS subject,
    format('is a receipt (%s), but that period was not paid for', n.dedupe_key) AS problem
FROM notices n
CROSS JOIN LATERAL (
    SELECT split_part(n.dedupe_key, ':', 2) AS subscription, split_part(n.dedupe_key, ':', 3) AS micros,
        translate(n.dedupe_key, '0123456789', '') IN ('renewed::', 'renewed:::') AS is_whole
    -- Keeps these from being worked out over and over again.
    OFFSET 0
) part
-- What is no number stays null: a failing cast would end the whole check instead of naming the notice.
LEFT JOIN payments p
    ON p.subscription_id = CASE WHEN part.is_whole AND length(part.subscription) BETWEEN 1 AND 19
        -- The largest id has as many digits as numbers beyond it.
        THEN nullif(least(part.subscription::numeric, 9223372036854775808), 9223372036854775808)::bigint END
    AND p.period_start = CASE WHEN part.is_whole AND length(part.micros) BETWEEN 1 AND 17
        THEN timestamptz 'epoch' + part.micros::bigint * interval '1 microsecond' END
WHERE n.kind = 'renewed' AND p.id IS NULL;
