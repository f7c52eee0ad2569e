-- Two lists that must not read past what does not concern them.
--
-- "We will charge N on D" is said once a period (renew --charge-notice). Among all rows whose end is a day ahead, nearly
-- all have been told: reading past them every few minutes would cost more than the rest of the pass. So the row itself
-- remembers for which end it was told, and the index holds only those that were not; a renewal, a refund, any moved end
-- brings a row back into it without anybody's doing. Where the notice is off, the index is written and not read: the
-- price of switching it on at any time without building one.

ALTER TABLE subscriptions ADD COLUMN charge_told_for timestamptz;
COMMENT ON COLUMN subscriptions.charge_told_for IS 'The end before which the customer was told of the coming charge; null: of none.';
CREATE INDEX subscriptions_charge_untold ON subscriptions (expires_at, id)
    WHERE status = 'active' AND auto_renew AND source = 'payment' AND charge_told_for IS DISTINCT FROM expires_at;

-- Notices that were given up are few among all that were ever sent, and a person looks for them (admin notices).
CREATE INDEX notices_dead ON notices (id) WHERE status = 'dead';
