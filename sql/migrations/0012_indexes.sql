-- reconcile-xray reads what is open, the oldest first, past the retired ones of all the years: the rows of one page then lie
-- together, and so do the subscriptions that refer to them. In the order of e-mails each was somewhere else.
CREATE INDEX credentials_open ON credentials (id) WHERE closed_at IS NULL;
DROP INDEX credentials_open_by_email;

-- No program asks the audit log by subscription: what happened to one is part of what happened to its user. Every charge
-- wrote a page of this index to the log (`WHERE telegram_id = … AND subscription_id = …` finds the same).
DROP INDEX audit_log_of_subscription;
