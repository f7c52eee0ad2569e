-- Times are moments, in every table as in subscriptions since the first migration.
--
-- `infinity` reads like "never" and is no moment: nothing can be computed with it, no calendar of a program's has it, and
-- one such row at the head of a list kept a pass from all others. Years outside 2000 to 9000 are slips of a hand. What has
-- no end is null wherever that is allowed. Only a discount may end at infinity: its end is compared, and nothing else.

DO $$
DECLARE
    checked record;
BEGIN
    FOR checked IN
        SELECT c.relname AS name, string_agg(
            format('%I BETWEEN timestamptz %L AND timestamptz %L', a.attname,
                '2000-01-01 00:00:00+00', '9000-01-01 00:00:00+00'),
            ' AND ' ORDER BY a.attnum) AS rule
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped
        WHERE c.oid = ANY (ARRAY[
            'users', 'installation', 'credentials', 'subscriptions', 'accounts', 'transfers', 'payments', 'notices', 'pace',
            'nodes', 'removals', 'orphans', 'parked', 'audit_log', 'runs', 'requests', 'turnovers'
        ]::regclass[]::oid[])
        GROUP BY c.relname
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I, ADD CONSTRAINT %2$I CHECK (%s)',
            checked.name, checked.name || '_times_sane', checked.rule);
    END LOOP;
END $$;

ALTER TABLE discounts ADD CONSTRAINT discounts_times_sane CHECK (
    ends_at = 'infinity'
    OR ends_at BETWEEN timestamptz '2000-01-01 00:00:00+00' AND timestamptz '9000-01-01 00:00:00+00'
);
