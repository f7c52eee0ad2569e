-- A payment has exactly the transfer it says: a charge of that amount from the wallet of that user. None exactly when
-- the price was 0.
SELECT format('payment %s of subscription %s', p.id, p.subscription_id) AS subject,
    CASE
        WHEN s.id IS NULL THEN 'is of a subscription that is not there'
        WHEN p.amount_kopecks = 0 THEN format('was free of charge, but names transfer %s', p.transfer_id)
        WHEN p.transfer_id IS NULL THEN format('of %s kopecks has no transfer', p.amount_kopecks)
        WHEN t.id IS NULL THEN format('names transfer %s, which is not there', p.transfer_id)
        WHEN t.kind <> 'charge' THEN format('names transfer %s, which is of kind %s', t.id, t.kind)
        WHEN t.amount_kopecks <> p.amount_kopecks
            THEN format('of %s kopecks names transfer %s of %s', p.amount_kopecks, t.id, t.amount_kopecks)
        ELSE format('of user %s names transfer %s, which charged %s', s.telegram_id, t.id,
            coalesce('user ' || w.telegram_id, 'no wallet'))
    END AS problem
FROM payments p
LEFT JOIN subscriptions s ON s.id = p.subscription_id
LEFT JOIN transfers t ON t.id = p.transfer_id
LEFT JOIN accounts w ON w.id = t.debit_account
WHERE s.id IS NULL
    OR (p.amount_kopecks = 0) <> (p.transfer_id IS NULL)
    OR (p.transfer_id IS NOT NULL
        AND (t.kind, t.amount_kopecks, w.kind, w.telegram_id)
            IS DISTINCT FROM ('charge', p.amount_kopecks, 'wallet', s.telegram_id));
