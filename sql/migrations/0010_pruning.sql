-- Trimming what only grows (`admin prune`). Money, and what proves it, is not among it: no transfer, no payment, no audit row
-- of a sale, a charge or a refund, no idempotency key.

-- Rows of the audit log that no check of the books needs; everything else in it stands as long as the ledger. The index
-- holds these alone, so that trimming reads past nothing that stays, and a charge writes nothing to it.
CREATE INDEX audit_log_prunable ON audit_log (at, id)
    WHERE action IN ('reminded', 'charge_announced', 'renewal_short', 'ended', 'expired', 'removed', 'restored', 'replaced',
        'retired', 'parked', 'unparked', 'notice_dropped', 'notice_retried', 'user_ensured', 'pruned');

-- The one way past the protection of the audit log. A row in `prunings` lets the transaction that wrote it delete; nobody but
-- audit_log_prune writes one, and it takes it away again before it returns.
CREATE TABLE prunings (
    xid xid8 NOT NULL,
    CONSTRAINT prunings_pkey PRIMARY KEY (xid)
);
COMMENT ON TABLE prunings IS 'Transactions that are inside audit_log_prune at this moment; empty to everybody else.';

CREATE FUNCTION audit_log_guard() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (SELECT FROM prunings p WHERE p.xid = pg_current_xact_id()) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of audit_log is refused', lower(TG_OP)
        USING ERRCODE = 'check_violation', TABLE = 'audit_log', CONSTRAINT = 'audit_log_append_only',
            HINT = 'The past stays; write a new row. Old rows that no check needs are trimmed by audit_log_prune.';
END $$;
DROP TRIGGER audit_log_append_only ON audit_log;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_guard();

CREATE FUNCTION audit_log_prune(
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
                'replaced', 'retired', 'parked', 'unparked', 'notice_dropped', 'notice_retried', 'user_ensured', 'pruned')
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
COMMENT ON FUNCTION audit_log_prune IS 'Deletes the oldest audit rows that no check of the books needs, after a key, so many at most. Answers how many, and the last key.';
REVOKE EXECUTE ON FUNCTION audit_log_prune, audit_log_guard FROM PUBLIC;
