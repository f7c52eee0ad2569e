-- A server that is down keeps in the list all that is closing, for days. What was proven gone from the others long ago is not
-- looked through each time.
ALTER TABLE nodes
    ADD COLUMN proven_to timestamptz,
    ADD COLUMN looked_whole_at timestamptz;
COMMENT ON COLUMN nodes.proven_to IS 'What was closed until then is proven gone from here: expire-fast begins to look there. Null: at the beginning.';
COMMENT ON COLUMN nodes.looked_whole_at IS 'When expire-fast last began at the beginning all the same, which it does once an hour.';

DO $$
BEGIN
    -- As in 0011, with the new ones.
    EXECUTE (
        SELECT format('ALTER TABLE nodes DROP CONSTRAINT nodes_times_sane, ADD CONSTRAINT nodes_times_sane CHECK (%s)',
            string_agg(format('%I BETWEEN timestamptz %L AND timestamptz %L', a.attname,
                '2000-01-01 00:00:00+00', '9000-01-01 00:00:00+00'), ' AND ' ORDER BY a.attnum))
        FROM pg_attribute a
        WHERE a.attrelid = 'nodes'::regclass AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped
    );
END $$;
