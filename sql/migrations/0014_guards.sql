-- A copy beside the original, in the same cluster, has the same system identifier: what tells it apart is the oid of its
-- database, which a rename keeps and a restore or CREATE DATABASE … TEMPLATE does not.
ALTER TABLE installation ADD COLUMN database_oid oid;
COMMENT ON COLUMN installation.database_oid IS 'pg_database.oid of the database that was accepted.';
COMMENT ON TABLE installation IS 'Which database of which cluster this is. A copy elsewhere refuses to act until it is accepted.';
-- Where a cluster was accepted, the database this is applied in is the one that acts.
UPDATE installation i
SET database_oid = d.oid
FROM pg_database d
WHERE d.datname = current_database() AND i.system_identifier IS NOT NULL;

-- A copy with a past is the dangerous one: its rows say what was so elsewhere. One of a database in which no pass ever ran (a
-- template of tests, say) is a database like any other.
ALTER TABLE runs ADD COLUMN database_oid oid;
COMMENT ON COLUMN runs.database_oid IS 'pg_database.oid of the database it ran on.';
UPDATE runs SET database_oid = d.oid FROM pg_database d WHERE d.datname = current_database();

-- Who may call what bots call signs as a bot, whatever the session says: everybody can set a setting, and behind a pooler one
-- client's is the next one's, too. Superusers are members of every role and are not meant; nor is, from version 16 on, who
-- may only grant the role because he made it.
CREATE OR REPLACE FUNCTION audit(
    action text, telegram_id bigint, subscription_id bigint, before jsonb, after jsonb, reason text, at timestamptz
) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, public, pg_temp
AS $$
    INSERT INTO audit_log (at, actor, action, telegram_id, subscription_id, before, after, reason)
    VALUES (
        $7,
        CASE
            WHEN coalesce(current_setting('perennial.actor', true), '') IN ('', 'bot') THEN 'bot'
            WHEN EXISTS (
                SELECT FROM pg_roles r
                WHERE r.rolname = session_user
                    AND NOT r.rolsuper
                    AND pg_has_role(r.oid, to_regrole('perennial_bot'),
                        CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'USAGE, SET' ELSE 'MEMBER' END)
            ) THEN 'bot'
            ELSE current_setting('perennial.actor', true)
        END,
        $1, $2, $3, $4, $5, $6
    )
$$;

-- Rows about strangers on a server are prunable as well: a server that lists others at each pass has them written for ever.
DROP INDEX audit_log_prunable;
CREATE INDEX audit_log_prunable ON audit_log (at, id)
    WHERE action IN ('reminded', 'charge_announced', 'renewal_short', 'ended', 'expired', 'removed', 'restored', 'replaced',
        'retired', 'quarantined', 'adopted', 'parked', 'unparked', 'notice_dropped', 'notice_retried', 'user_ensured', 'pruned');

CREATE OR REPLACE FUNCTION audit_log_prune(
    older_than timestamptz, after_at timestamptz, after_id bigint, at_most integer,
    OUT pruned bigint, OUT last_at timestamptz, OUT last_id bigint
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- Whatever a setting says: what happened this half-year is still asked about.
    IF older_than IS NULL OR older_than > now() - interval '180 days' THEN
        RAISE EXCEPTION 'rows of the audit log are kept for 180 days at least'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO prunings (xid) VALUES (pg_current_xact_id());
    WITH old AS (
        SELECT a.id, a.at
        FROM audit_log a
        WHERE a.action IN ('reminded', 'charge_announced', 'renewal_short', 'ended', 'expired', 'removed', 'restored',
                'replaced', 'retired', 'quarantined', 'adopted', 'parked', 'unparked', 'notice_dropped', 'notice_retried',
                'user_ensured', 'pruned')
            AND a.at < older_than
            AND (a.at, a.id) > (after_at, after_id)
        ORDER BY a.at, a.id
        LIMIT at_most
    ), gone AS (
        DELETE FROM audit_log a USING old o WHERE a.id = o.id RETURNING a.id, a.at
    )
    SELECT count(*) OVER (), g.at, g.id INTO pruned, last_at, last_id
    FROM gone g
    ORDER BY g.at DESC, g.id DESC
    LIMIT 1;
    DELETE FROM prunings p WHERE p.xid = pg_current_xact_id();
    pruned := coalesce(pruned, 0);
END $$;

-- A dry run writes no row, so nothing ever set it.
ALTER TABLE runs DROP COLUMN dry_run;
