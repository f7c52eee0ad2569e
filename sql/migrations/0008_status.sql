-- What `admin status` reads of the ledger: some days of it, by time. A range index over a table that only grows holds a
-- few bytes for every 32 pages and costs a charge nothing worth measuring.

CREATE INDEX transfers_by_time ON transfers USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
