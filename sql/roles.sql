-- Who may do what in this database. Run it as the owner of the schema, who may create roles, after every migration:
--
--     psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f sql/roles.sql
--
-- Running it again changes nothing; what somebody granted or took by hand is set right. It is one statement, so other
-- sessions see all of it or nothing.

-- All are groups without a login. Give them to the roles that log in: GRANT perennial_bot TO my_bot.
--
--     perennial_bot                            the functions of INTERFACE, its own views, and nothing else
--     perennial_renew, perennial_notify_trials, perennial_expire_fast, perennial_reconcile_xray
--                                              what that pass reads and writes, column by column
--     perennial_prune                          trims runs, sent notices and audit rows that no check needs: admin prune
--     perennial_admin_read                     reads everything: admin status, verify, explain; dashboards
DO $roles$
DECLARE
    functions CONSTANT regprocedure[] := ARRAY[
        'public.perennial_ensure_user(bigint, text, text)',
        'public.perennial_top_up(bigint, bigint, text)',
        'public.perennial_buy(bigint, text, boolean, text)',
        'public.perennial_grant(bigint, text, integer, text)',
        'public.perennial_start_trial(bigint, text, integer, text)',
        'public.perennial_cancel(bigint, text)',
        'public.perennial_set_auto_renew(bigint, boolean)',
        'public.perennial_rotate(bigint, text, text)',
        'public.perennial_refund(bigint, text, text)'
    ];
    views CONSTANT regclass[] := ARRAY[
        'public.perennial_wallets',
        'public.perennial_tariffs',
        'public.perennial_subscriptions',
        'public.perennial_payments'
    ];
    passes CONSTANT text[] := ARRAY[
        'perennial_renew', 'perennial_notify_trials', 'perennial_expire_fast', 'perennial_reconcile_xray'
    ];
    roles CONSTANT text[] := passes || ARRAY['perennial_bot', 'perennial_prune', 'perennial_admin_read'];
    -- Who, what, on what. "pass": all four; "ends": both that end subscriptions.
    grants CONSTANT text[] := ARRAY[
        -- Checking in, the row of the run, the audit log.
        'pass', 'SELECT', 'refinery_schema_history',
        'pass', 'SELECT', 'installation',
        'pass', 'SELECT, INSERT, UPDATE (finished_at, outcome, exit_code, summary)', 'runs',
        'pass', 'INSERT', 'audit_log',
        -- The outbox: written by whoever causes a notice, sent by any pass.
        'pass', 'SELECT, INSERT, UPDATE (telegram_id, not_before, status, attempts, lease_until, last_error, message_id, sent_at)',
            'notices',
        'pass', 'SELECT, INSERT, UPDATE (next_free_at)', 'pace',
        'pass', 'SELECT, UPDATE (telegram_unreachable_since)', 'users',
        'pass', 'SELECT', 'subscriptions',
        'pass', 'SELECT', 'parked',
        -- renew. What it may write of accounts the ledger's triggers refuse: a row is locked only by who may change it.
        'renew', 'SELECT', 'tariffs',
        'renew', 'SELECT', 'discounts',
        'renew', 'SELECT', 'credentials',
        'renew', 'SELECT, UPDATE (kind)', 'accounts',
        'renew', 'SELECT, INSERT', 'transfers',
        'renew', 'SELECT, INSERT', 'payments',
        'renew', 'UPDATE (expires_at, last_auto_renewal_at, short_stage, short_balance_kopecks, short_price_kopecks, charge_told_for)',
            'subscriptions',
        'renew', 'INSERT, UPDATE, DELETE', 'parked',
        -- notify-trials, and ending.
        'notify_trials', 'UPDATE (next_reminder_at)', 'subscriptions',
        'notify_trials', 'INSERT, UPDATE, DELETE', 'parked',
        'ends', 'SELECT', 'tariffs',
        'ends', 'SELECT', 'discounts',
        'ends', 'SELECT', 'accounts',
        'ends', 'SELECT (id, telegram_id, access_group, email, closed_at, retired_at), UPDATE (closed_at)', 'credentials',
        'ends', 'UPDATE (status, credential_id, ended_at, expired_at)', 'subscriptions',
        -- Removal with proof.
        'expire_fast', 'UPDATE (retired_at)', 'credentials',
        'expire_fast', 'SELECT, INSERT', 'removals',
        'expire_fast', 'SELECT, INSERT, UPDATE (leased_until, failures, next_try_at, proven_to, looked_whole_at)', 'nodes',
        -- reconcile-xray.
        'reconcile_xray', 'SELECT, UPDATE (closed_at, retired_at)', 'credentials',
        'reconcile_xray', 'SELECT, INSERT, UPDATE (adopted_at, known_inbounds, last_list_size)', 'nodes',
        'reconcile_xray', 'SELECT, INSERT, UPDATE, DELETE', 'orphans',
        -- What a message says of a balance is read when it is sent.
        'reconcile_xray', 'SELECT (telegram_id, kind, balance_kopecks)', 'accounts',
        -- Trimming. Of the audit log it deletes nothing itself: audit_log_prune does.
        'prune', 'SELECT', 'refinery_schema_history',
        'prune', 'SELECT', 'installation',
        'prune', 'SELECT, DELETE', 'runs',
        'prune', 'SELECT, DELETE', 'notices',
        'prune', 'SELECT (id, source, status, expires_at)', 'subscriptions',
        'prune', 'INSERT', 'audit_log'
    ];
    pricing CONSTANT regprocedure[] := ARRAY[
        'public.price_kopecks(bigint, bigint, boolean, integer)',
        'public.period_end(timestamptz, text, integer, integer)',
        'public.anchor_day_at(timestamptz, integer)'
    ];
    posting CONSTANT regprocedure := 'public.ledger_post(text[], text[], bigint[], bigint[], bigint[], bigint[], timestamptz)';
    called regprocedure;
    viewed regclass;
    wanted text;
    receiver text;
    nth integer;
BEGIN
    -- Two runs at once in one database would change the same rows of the catalogue.
    PERFORM pg_advisory_xact_lock(hashtext('perennial roles'));

    -- Roles belong to the whole cluster: another database's run may be creating it right now.
    FOREACH wanted IN ARRAY roles LOOP
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- It is there, which is what was wanted.
            END;
        END IF;
    END LOOP;

    -- PostgreSQL lets everybody call a new function and, before version 15, create objects in public: a function of
    -- one's own there could be called by ours, with the owner's rights.
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    FOR called IN
        SELECT p.oid
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
            AND NOT EXISTS (
                SELECT FROM pg_depend d
                WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
            )
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', called);
        FOREACH wanted IN ARRAY roles LOOP
            EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %I', called, wanted);
        END LOOP;
    END LOOP;

    FOREACH wanted IN ARRAY roles LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', wanted);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM %I', wanted);
        EXECUTE format('REVOKE ALL ON SCHEMA public FROM %I', wanted);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', wanted);
    END LOOP;
    FOREACH called IN ARRAY functions LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO perennial_bot', called);
    END LOOP;
    FOREACH viewed IN ARRAY views LOOP
        EXECUTE format('GRANT SELECT ON %s TO perennial_bot', viewed);
    END LOOP;

    FOREACH receiver IN ARRAY passes || 'perennial_prune'::text LOOP
        FOR nth IN 1 .. cardinality(grants) BY 3 LOOP
            CONTINUE WHEN NOT (grants[nth] = 'pass' AND receiver = ANY (passes))
                AND receiver <> 'perennial_' || grants[nth]
                AND NOT (grants[nth] = 'ends' AND receiver IN ('perennial_notify_trials', 'perennial_expire_fast'));
            EXECUTE format('GRANT %s ON public.%I TO %I', grants[nth + 1], grants[nth + 2], receiver);
        END LOOP;
    END LOOP;
    FOREACH called IN ARRAY pricing LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO perennial_renew, perennial_notify_trials, perennial_expire_fast, perennial_admin_read', called);
    END LOOP;
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s, public.turnovers_fold(timestamptz) TO perennial_renew', posting);
    -- What `admin verify` compares with.
    GRANT EXECUTE ON FUNCTION public.turnover_kind(bigint, bigint, text) TO perennial_admin_read;

    GRANT EXECUTE ON FUNCTION public.audit_log_prune(timestamptz, timestamptz, bigint, integer) TO perennial_prune;

    GRANT SELECT ON ALL TABLES IN SCHEMA public TO perennial_admin_read;
END
$roles$;
