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
