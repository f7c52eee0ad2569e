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
