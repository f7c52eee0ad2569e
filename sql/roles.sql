-- Who may do what in this database. Run it as the owner of the schema, who may create roles, after every migration:
--
--     psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f sql/roles.sql
--
-- Running it again changes nothing; what somebody granted or took by hand is set right. It is one statement, so other
-- sessions see all of it or nothing.

-- perennial_bot: a group without a login. Give it to the role that a bot logs in as: GRANT perennial_bot TO my_bot.
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
    called regprocedure;
    viewed regclass;
BEGIN
    -- Two runs at once in one database would change the same rows of the catalogue.
    PERFORM pg_advisory_xact_lock(hashtext('perennial roles'));

    -- Roles belong to the whole cluster: another database's run may be creating it right now.
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'perennial_bot') THEN
        BEGIN
            CREATE ROLE perennial_bot NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- It is there, which is what was wanted.
        END;
    END IF;

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
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, perennial_bot', called);
    END LOOP;

    REVOKE ALL ON ALL TABLES IN SCHEMA public FROM perennial_bot;
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM perennial_bot;
    REVOKE ALL ON SCHEMA public FROM perennial_bot;
    GRANT USAGE ON SCHEMA public TO perennial_bot;
    FOREACH called IN ARRAY functions LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO perennial_bot', called);
    END LOOP;
    FOREACH viewed IN ARRAY views LOOP
        EXECUTE format('GRANT SELECT ON %s TO perennial_bot', viewed);
    END LOOP;
END
$roles$;
