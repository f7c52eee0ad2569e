-- A payment is voided exactly when its money went back.
SELECT format('payment %s of subscription %s', p.id, p.subscription_id) AS subject,
    CASE
        WHEN p.voided_at IS NULL THEN format('stands, but its transfer %s was taken back by %s', p.transfer_id, r.id)
        ELSE format('is voided, but its transfer %s was not taken back', p.transfer_id)
    END AS problem
FROM payments p
LEFT JOIN (SELECT v.id, v.reverses FROM transfers v WHERE v.reverses IS NOT NULL) r ON r.reverses = p.transfer_id
WHERE p.transfer_id IS NOT NULL AND (p.voided_at IS NULL) <> (r.id IS NULL);
