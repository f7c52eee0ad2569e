-- Money moves only along known ways: top_up from inflow to a wallet, charge from a wallet to revenue, adjustment
-- between adjustment and a wallet. A reversal goes back on one of them (reversal_mirrors says on which).
SELECT format('transfer %s (%s)', t.id, t.kind) AS subject,
    format('moved %s kopecks from account %s to %s, which is no way for its kind', t.amount_kopecks, t.debit_account,
        t.credit_account) AS problem
FROM transfers t
-- The system accounts have the ids 1 (revenue), 2 (inflow) and 3 (adjustment), wallets higher ones.
LEFT JOIN accounts w ON w.id = greatest(t.debit_account, t.credit_account) AND w.kind = 'wallet'
WHERE w.id IS NULL
    OR t.amount_kopecks <= 0
    OR NOT CASE t.kind
        WHEN 'top_up' THEN t.debit_account = 2
        WHEN 'charge' THEN t.credit_account = 1
        WHEN 'adjustment' THEN least(t.debit_account, t.credit_account) = 3
        WHEN 'reversal' THEN least(t.debit_account, t.credit_account) <= 3
        ELSE false
    END;
