-- reconcile-xray reads what is open, the oldest first, past the retired ones of all the years: the rows of one page then lie
-- together, and so do the subscriptions that refer to them. In the order of e-mails each was somewhere else.
CREATE INDEX credentials_open ON credentials (id) WHERE closed_at IS NULL;
DROP INDEX credentials_open_by_email;
