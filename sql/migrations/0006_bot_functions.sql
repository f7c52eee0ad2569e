-- What a bot calls, in any language (INTERFACE). Each function is one transaction's work, takes an idempotency key
-- last and answers a repeated call with its first answer. Lock order: wallet, credential, subscription; the wallet
-- serialises all that happens to one user.
-- Refusals: PK001 key used with other inputs · PK002 not enough money · PK003 unknown user, tariff or subscription ·
-- PK004 trial already used · PK005 not possible in this state.

CREATE TABLE requests (
    idempotency_key text COLLATE "C" NOT NULL,
    function text NOT NULL,
    inputs jsonb NOT NULL,
    answer jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT requests_pkey PRIMARY KEY (idempotency_key),
    CONSTRAINT requests_key_not_empty CHECK (length(idempotency_key) BETWEEN 1 AND 200)
);
COMMENT ON TABLE requests IS 'Calls of bots by idempotency key: inputs to compare with, and the answer to give again.';

-- The moment a call decides by. One function, so that a simulation can put its own clock here.
CREATE FUNCTION perennial_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT clock_timestamp() $$;

-- Takes the key. Answers the first answer when the call is a repetition, else null. A repetition that arrives while
-- the first is under way waits for its commit.
CREATE FUNCTION request_begin(key text, called text, given jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    earlier requests;
BEGIN
    PERFORM need_read_committed();
    IF key IS NULL OR key = '' THEN
        RAISE EXCEPTION '% needs an idempotency key', called USING ERRCODE = 'null_value_not_allowed';
    END IF;
    INSERT INTO requests (idempotency_key, function, inputs, created_at) VALUES (key, called, given, perennial_now())
    ON CONFLICT ON CONSTRAINT requests_pkey DO NOTHING;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO STRICT earlier FROM requests r WHERE r.idempotency_key = key;
    IF (earlier.function, earlier.inputs) IS DISTINCT FROM (called, given) THEN
        RAISE EXCEPTION 'idempotency key % was used for % with other inputs', key, earlier.function
            USING ERRCODE = 'PK001', DETAIL = format('First: %s, now: %s', earlier.inputs, given),
                HINT = 'Use a new key for a new request.';
    END IF;
    RETURN earlier.answer;
END $$;

CREATE FUNCTION request_end(key text, given jsonb) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, public, pg_temp
AS $$ UPDATE requests SET answer = given WHERE idempotency_key = key $$;

CREATE FUNCTION audit(
    action text, telegram_id bigint, subscription_id bigint, before jsonb, after jsonb, reason text, at timestamptz
) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, public, pg_temp
AS $$
    INSERT INTO audit_log (at, actor, action, telegram_id, subscription_id, before, after, reason)
    VALUES ($7, coalesce(nullif(current_setting('perennial.actor', true), ''), 'bot'), $1, $2, $3, $4, $5, $6)
$$;

-- Locks the user's wallet, before anything else of that user.
CREATE FUNCTION lock_wallet(of_user bigint) RETURNS accounts
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    wallet accounts;
BEGIN
    SELECT * INTO wallet FROM accounts a WHERE a.kind = 'wallet' AND a.telegram_id = of_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'user % is not known', of_user
            USING ERRCODE = 'PK003', HINT = 'Call perennial_ensure_user first.';
    END IF;
    RETURN wallet;
END $$;

CREATE FUNCTION sold_tariff(wanted text) RETURNS tariffs
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    tariff tariffs;
BEGIN
    SELECT * INTO tariff FROM tariffs t WHERE t.code = wanted AND t.active;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tariff % is not sold', wanted
            USING ERRCODE = 'PK003', HINT = 'See the view perennial_tariffs.';
    END IF;
    RETURN tariff;
END $$;

-- The user's open credential, held FOR SHARE, or the next one. PROTOCOL "The bot", step 1: a credential read in an
-- earlier transaction is never carried into this one. The caller holds the wallet.
CREATE FUNCTION open_credential(of_user bigint, wanted_group text) RETURNS credentials
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    held credentials;
BEGIN
    LOOP
        SELECT * INTO held FROM credentials c
        WHERE c.telegram_id = of_user AND c.access_group = wanted_group AND c.closed_at IS NULL
        FOR SHARE;
        EXIT WHEN FOUND;
        INSERT INTO credentials (telegram_id, access_group, created_at)
        VALUES (of_user, wanted_group, perennial_now())
        ON CONFLICT (telegram_id, access_group) WHERE closed_at IS NULL DO NOTHING
        RETURNING * INTO held;
        EXIT WHEN FOUND;
    END LOOP;
    RETURN held;
END $$;

-- Gives the right until `until`: extends the user's active row of this source or starts one. The caller holds the
-- wallet and, where there is one, the row.
CREATE FUNCTION give_right(
    of_user bigint, from_source text, sold tariffs, current subscriptions, since timestamptz, until timestamptz,
    anchor integer, renews boolean
) RETURNS subscriptions
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    given subscriptions;
    credential credentials;
BEGIN
    IF current.id IS NULL THEN
        credential := open_credential(of_user, sold.access_group);
        INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, starts_at, expires_at, anchor_day, auto_renew, created_at)
        VALUES (of_user, from_source, sold.code, credential.id, since, until, anchor, renews, since)
        RETURNING * INTO given;
    ELSE
        UPDATE subscriptions s
        SET tariff = sold.code, expires_at = until, anchor_day = anchor, auto_renew = renews,
            agreed_price_kopecks = CASE WHEN s.tariff = sold.code THEN s.agreed_price_kopecks END,
            short_stage = NULL, short_balance_kopecks = NULL, short_price_kopecks = NULL
        WHERE s.id = current.id AND s.status = 'active'
        RETURNING * INTO STRICT given;
        DELETE FROM parked p WHERE p.pass = 'renew' AND p.subscription = given.id;
    END IF;
    RETURN given;
END $$;

-- The user's active row of a source, locked. One access group a row: moving it to another one would have to take
-- paid days away or give dearer ones for nothing, so that is left to the operator.
CREATE FUNCTION lock_active(of_user bigint, from_source text, sold tariffs) RETURNS subscriptions
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    current subscriptions;
    its_group text;
BEGIN
    SELECT * INTO current FROM subscriptions s
    WHERE s.telegram_id = of_user AND s.source = from_source AND s.status = 'active'
    FOR NO KEY UPDATE;
    IF FOUND THEN
        SELECT c.access_group INTO STRICT its_group FROM credentials c WHERE c.id = current.credential_id;
        IF its_group <> sold.access_group THEN
            RAISE EXCEPTION 'user % has an active subscription in group % until %; tariff % is of group %',
                of_user, its_group, current.expires_at, sold.code, sold.access_group
                USING ERRCODE = 'PK005', HINT = 'Wait for its end, or refund or cancel it first.';
        END IF;
    END IF;
    RETURN current;
END $$;

-- The answer of the functions that give a right.
CREATE FUNCTION right_as_json(given subscriptions) RETURNS jsonb
    LANGUAGE sql SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT jsonb_build_object('subscription_id', given.id, 'expires_at', given.expires_at,
        'credential_uuid', c.uuid, 'email', c.email)
    FROM credentials c WHERE c.id = given.credential_id
$$;

CREATE FUNCTION subscription_as_json(s subscriptions) RETURNS jsonb
    LANGUAGE sql SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT jsonb_build_object('status', s.status, 'tariff', s.tariff, 'expires_at', s.expires_at,
        'auto_renew', s.auto_renew, 'credential_id', s.credential_id)
    WHERE s.id IS NOT NULL
$$;

CREATE FUNCTION user_as_json(u users) RETURNS jsonb
    LANGUAGE sql SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT jsonb_build_object('language', u.language, 'time_zone', u.time_zone,
        'telegram_unreachable_since', u.telegram_unreachable_since)
    WHERE u.telegram_id IS NOT NULL
$$;

CREATE FUNCTION perennial_ensure_user(telegram_id bigint, language text, time_zone text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := perennial_now();
    known users;
    given users;
BEGIN
    SELECT * INTO known FROM users u WHERE u.telegram_id = $1;
    -- A sign of life: messages are tried again. Null leaves what is known.
    INSERT INTO users AS u (telegram_id, language, time_zone, created_at) VALUES ($1, $2, $3, moment)
    ON CONFLICT ON CONSTRAINT users_pkey DO UPDATE
    SET language = coalesce($2, u.language), time_zone = coalesce($3, u.time_zone), telegram_unreachable_since = NULL
    WHERE (u.language, u.time_zone, u.telegram_unreachable_since)
        IS DISTINCT FROM (coalesce($2, u.language), coalesce($3, u.time_zone), NULL)
    RETURNING * INTO given;
    IF FOUND THEN
        PERFORM audit('user_ensured', $1, NULL, user_as_json(known), user_as_json(given), NULL, moment);
    END IF;
END $$;

CREATE FUNCTION perennial_top_up(telegram_id bigint, amount_kopecks bigint, idempotency_key text, OUT balance_kopecks bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    answer jsonb := request_begin(idempotency_key, 'top_up', jsonb_build_object('telegram_id', $1, 'amount_kopecks', $2));
    wallet accounts;
    moment timestamptz;
BEGIN
    IF answer IS NULL THEN
        wallet := lock_wallet($1);
        moment := perennial_now();
        IF $2 IS NULL OR $2 <= 0 THEN
            RAISE EXCEPTION 'a top-up of % kopecks: the amount must be positive', $2 USING ERRCODE = 'invalid_parameter_value';
        END IF;
        PERFORM ledger_post(ARRAY['top_up:' || $3], ARRAY['top_up'], ARRAY[2::bigint], ARRAY[wallet.id], ARRAY[$2], ARRAY[NULL::bigint], moment);
        PERFORM audit('topped_up', $1, NULL, jsonb_build_object('balance_kopecks', wallet.balance_kopecks),
            jsonb_build_object('balance_kopecks', wallet.balance_kopecks + $2), $3, moment);
        answer := to_jsonb(wallet.balance_kopecks + $2);
        PERFORM request_end($3, answer);
    END IF;
    balance_kopecks := answer::bigint;
END $$;

CREATE FUNCTION perennial_buy(
    telegram_id bigint, tariff text, auto_renew boolean, idempotency_key text,
    OUT subscription_id bigint, OUT expires_at timestamptz, OUT credential_uuid uuid, OUT email text
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    answer jsonb := request_begin($4, 'buy', jsonb_build_object('telegram_id', $1, 'tariff', $2, 'auto_renew', $3));
    wallet accounts;
    sold tariffs;
    current subscriptions;
    given subscriptions;
    moment timestamptz;
    since timestamptz;
    until timestamptz;
    anchor integer;
    price bigint;
    transfer bigint;
BEGIN
    IF answer IS NULL THEN
        wallet := lock_wallet($1);
        sold := sold_tariff($2);
        current := lock_active($1, 'payment', sold);
        moment := perennial_now();

        SELECT price_kopecks(sold.price_kopecks, CASE WHEN current.tariff = sold.code THEN current.agreed_price_kopecks END,
            u.vip, d.percent)
        INTO STRICT price
        FROM users u
        LEFT JOIN discounts d ON d.telegram_id = u.telegram_id AND (d.ends_at IS NULL OR d.ends_at > moment)
        WHERE u.telegram_id = $1;
        IF wallet.balance_kopecks < price THEN
            RAISE EXCEPTION 'tariff % costs % kopecks, the wallet of user % holds %', sold.code, price, $1, wallet.balance_kopecks
                USING ERRCODE = 'PK002', DETAIL = jsonb_build_object('price_kopecks', price,
                    'balance_kopecks', wallet.balance_kopecks, 'missing_kopecks', price - wallet.balance_kopecks)::text;
        END IF;

        -- From the old end; from now when that is past. Days already paid for are never sold again, also when the
        -- row was cancelled in the middle of them: they come back in front of the new period.
        since := greatest(current.expires_at, moment, (
            SELECT max(p.period_end) FROM payments p WHERE p.subscription_id = current.id AND p.voided_at IS NULL
        ));
        anchor := CASE WHEN since > moment AND current.id IS NOT NULL THEN anchor_day_at(since, current.anchor_day)
            ELSE extract(day FROM since AT TIME ZONE 'UTC') END;
        until := period_end(since, sold.period_unit, sold.period_count, anchor);
        given := give_right($1, 'payment', sold, current, since, until, anchor, coalesce($3, false));
        IF price > 0 THEN
            SELECT l.transfer_id INTO STRICT transfer
            FROM ledger_post(ARRAY['buy:' || $4], ARRAY['charge'], ARRAY[wallet.id], ARRAY[1::bigint], ARRAY[price], ARRAY[NULL::bigint], moment) l;
        END IF;
        INSERT INTO payments (subscription_id, tariff, period_start, period_end, amount_kopecks, transfer_id, created_at)
        VALUES (given.id, sold.code, since, until, price, transfer, moment);
        PERFORM audit('bought', $1, given.id, subscription_as_json(current),
            subscription_as_json(given) || jsonb_build_object('amount_kopecks', price), $4, moment);
        answer := right_as_json(given);
        PERFORM request_end($4, answer);
    END IF;
    subscription_id := answer ->> 'subscription_id';
    expires_at := answer ->> 'expires_at';
    credential_uuid := answer ->> 'credential_uuid';
    email := answer ->> 'email';
END $$;

CREATE FUNCTION perennial_grant(
    telegram_id bigint, tariff text, days integer, idempotency_key text,
    OUT subscription_id bigint, OUT expires_at timestamptz, OUT credential_uuid uuid, OUT email text
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    answer jsonb := request_begin($4, 'grant', jsonb_build_object('telegram_id', $1, 'tariff', $2, 'days', $3));
    sold tariffs;
    current subscriptions;
    given subscriptions;
    moment timestamptz;
    since timestamptz;
BEGIN
    IF answer IS NULL THEN
        PERFORM lock_wallet($1);
        sold := sold_tariff($2);
        current := lock_active($1, 'grant', sold);
        moment := perennial_now();
        IF $3 IS NULL OR $3 NOT BETWEEN 1 AND 3660 THEN
            RAISE EXCEPTION 'a grant of % days: 1 to 3660 are possible', $3 USING ERRCODE = 'invalid_parameter_value';
        END IF;
        since := greatest(current.expires_at, moment);
        given := give_right($1, 'grant', sold, current, since, period_end(since, 'day', $3, 1),
            coalesce(current.anchor_day, extract(day FROM since AT TIME ZONE 'UTC')::integer), false);
        PERFORM audit('granted', $1, given.id, subscription_as_json(current), subscription_as_json(given), $4, moment);
        answer := right_as_json(given);
        PERFORM request_end($4, answer);
    END IF;
    subscription_id := answer ->> 'subscription_id';
    expires_at := answer ->> 'expires_at';
    credential_uuid := answer ->> 'credential_uuid';
    email := answer ->> 'email';
END $$;

CREATE FUNCTION perennial_start_trial(
    telegram_id bigint, tariff text, hours integer, idempotency_key text,
    OUT subscription_id bigint, OUT expires_at timestamptz, OUT credential_uuid uuid, OUT email text
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    answer jsonb := request_begin($4, 'start_trial', jsonb_build_object('telegram_id', $1, 'tariff', $2, 'hours', $3));
    sold tariffs;
    given subscriptions;
    moment timestamptz;
BEGIN
    IF answer IS NULL THEN
        PERFORM lock_wallet($1);
        sold := sold_tariff($2);
        moment := perennial_now();
        IF $3 IS NULL OR $3 NOT BETWEEN 1 AND 8784 THEN
            RAISE EXCEPTION 'a trial of % hours: 1 to 8784 are possible', $3 USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF EXISTS (SELECT FROM subscriptions s WHERE s.telegram_id = $1 AND s.source = 'trial') THEN
            RAISE EXCEPTION 'user % has used the trial', $1 USING ERRCODE = 'PK004';
        END IF;
        given := give_right($1, 'trial', sold, NULL, moment, moment + make_interval(hours => $3),
            extract(day FROM moment AT TIME ZONE 'UTC')::integer, false);
        PERFORM audit('trial_started', $1, given.id, NULL, subscription_as_json(given), $4, moment);
        answer := right_as_json(given);
        PERFORM request_end($4, answer);
    END IF;
    subscription_id := answer ->> 'subscription_id';
    expires_at := answer ->> 'expires_at';
    credential_uuid := answer ->> 'credential_uuid';
    email := answer ->> 'email';
END $$;

-- Ends the right now by its time alone; a pass claims it from there (PROTOCOL "The bot", step 3). Automatic renewal
-- goes off with it: a row that ends now is due, and would be charged again within minutes of being cancelled.
CREATE FUNCTION perennial_cancel(subscription_id bigint, idempotency_key text, OUT expires_at timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    answer jsonb := request_begin($2, 'cancel', jsonb_build_object('subscription_id', $1));
    current subscriptions;
    cancelled subscriptions;
    moment timestamptz;
BEGIN
    IF answer IS NULL THEN
        current := lock_subscription($1);
        cancelled := current;
        IF current.status = 'active' THEN
            moment := perennial_now();
            UPDATE subscriptions s SET expires_at = least(s.expires_at, moment), auto_renew = false
            WHERE s.id = $1 RETURNING * INTO STRICT cancelled;
            PERFORM audit('cancelled', current.telegram_id, $1, subscription_as_json(current),
                subscription_as_json(cancelled), $2, moment);
        END IF;
        answer := to_jsonb(cancelled.expires_at);
        PERFORM request_end($2, answer);
    END IF;
    expires_at := answer #>> '{}';
END $$;

CREATE FUNCTION lock_subscription(wanted bigint) RETURNS subscriptions
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    held subscriptions;
BEGIN
    PERFORM need_read_committed();
    SELECT * INTO held FROM subscriptions s WHERE s.id = wanted FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription % is not known', wanted USING ERRCODE = 'PK003';
    END IF;
    RETURN held;
END $$;

CREATE FUNCTION perennial_set_auto_renew(subscription_id bigint, auto_renew boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    current subscriptions := lock_subscription($1);
    changed subscriptions;
BEGIN
    IF $2 IS NULL THEN
        RAISE EXCEPTION 'auto_renew of subscription %: true or false is needed', $1 USING ERRCODE = 'null_value_not_allowed';
    ELSIF $2 AND (current.source, current.status) <> ('payment', 'active') THEN
        RAISE EXCEPTION 'subscription % (%, %) cannot be renewed automatically', $1, current.source, current.status
            USING ERRCODE = 'PK005', HINT = 'Only an active, paid subscription renews; trials and grants end.';
    ELSIF $2 AND EXISTS (
        SELECT FROM payments p WHERE p.subscription_id = $1 AND p.voided_at IS NULL AND p.period_end > current.expires_at
    ) THEN
        -- The next period would begin in the middle of a paid one, and no day is sold twice: renew would park the row.
        RAISE EXCEPTION 'subscription % was cancelled', $1
            USING ERRCODE = 'PK005', HINT = 'Buy again: the days that are already paid for come back with it.';
    END IF;
    IF current.auto_renew <> $2 THEN
        UPDATE subscriptions s SET auto_renew = $2 WHERE s.id = $1 RETURNING * INTO STRICT changed;
        PERFORM audit('auto_renew_set', current.telegram_id, $1, subscription_as_json(current),
            subscription_as_json(changed), NULL, perennial_now());
    END IF;
    RETURN $2;
END $$;

-- A new credential: the old one is closed and the live rows move to the new one, in one transaction. Rows already
-- expiring keep the old one until it is proven gone.
CREATE FUNCTION perennial_rotate(
    telegram_id bigint, access_group text, idempotency_key text, OUT credential_uuid uuid, OUT email text
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    answer jsonb := request_begin($3, 'rotate', jsonb_build_object('telegram_id', $1, 'access_group', $2));
    old_one credentials;
    new_one credentials;
    moment timestamptz;
BEGIN
    IF answer IS NULL THEN
        PERFORM lock_wallet($1);
        SELECT * INTO old_one FROM credentials c
        WHERE c.telegram_id = $1 AND c.access_group = $2 AND c.closed_at IS NULL
        FOR UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'user % has no open credential in group %', $1, $2 USING ERRCODE = 'PK003';
        END IF;
        moment := perennial_now();
        UPDATE credentials c SET closed_at = moment WHERE c.id = old_one.id;
        new_one := open_credential($1, $2);
        UPDATE subscriptions s SET credential_id = new_one.id WHERE s.credential_id = old_one.id AND s.status = 'active';
        PERFORM audit('rotated', $1, NULL, jsonb_build_object('email', old_one.email),
            jsonb_build_object('email', new_one.email), $3, moment);
        answer := jsonb_build_object('credential_uuid', new_one.uuid, 'email', new_one.email);
        PERFORM request_end($3, answer);
    END IF;
    credential_uuid := answer ->> 'credential_uuid';
    email := answer ->> 'email';
END $$;

-- Takes a charge back: the transfer is reversed, the payment voided, its days leave the subscription. Latest period
-- first. Automatic renewal goes off: else the next pass would charge the refunded period again at once.
CREATE FUNCTION perennial_refund(
    payment_id bigint, reason text, idempotency_key text,
    OUT refunded_kopecks bigint, OUT balance_kopecks bigint, OUT expires_at timestamptz
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    answer jsonb := request_begin($3, 'refund', jsonb_build_object('payment_id', $1, 'reason', $2));
    paid payments;
    wallet accounts;
    current subscriptions;
    changed subscriptions;
    moment timestamptz;
BEGIN
    IF answer IS NULL THEN
        SELECT * INTO paid FROM payments p WHERE p.id = $1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'payment % is not known', $1 USING ERRCODE = 'PK003';
        END IF;
        wallet := lock_wallet((SELECT s.telegram_id FROM subscriptions s WHERE s.id = paid.subscription_id));
        current := lock_subscription(paid.subscription_id);
        -- Read again under the locks.
        SELECT * INTO STRICT paid FROM payments p WHERE p.id = $1 FOR NO KEY UPDATE;
        moment := perennial_now();
        IF paid.voided_at IS NOT NULL THEN
            RAISE EXCEPTION 'payment % was refunded at %', $1, paid.voided_at USING ERRCODE = 'PK005';
        ELSIF EXISTS (
            SELECT FROM payments p
            WHERE p.subscription_id = paid.subscription_id AND p.voided_at IS NULL AND p.period_start > paid.period_start
        ) THEN
            RAISE EXCEPTION 'payment % is not the latest of subscription %', $1, current.id
                USING ERRCODE = 'PK005', HINT = 'Refund the later periods first.';
        END IF;

        IF paid.transfer_id IS NOT NULL THEN
            PERFORM ledger_post(ARRAY['refund:' || $3], ARRAY['reversal'], ARRAY[t.credit_account], ARRAY[t.debit_account],
                ARRAY[t.amount_kopecks], ARRAY[t.id], moment)
            FROM transfers t WHERE t.id = paid.transfer_id;
        END IF;
        UPDATE payments p SET voided_at = moment WHERE p.id = $1;
        changed := current;
        IF current.status = 'active' THEN
            UPDATE subscriptions s
            SET expires_at = least(s.expires_at, greatest(paid.period_start, moment)), auto_renew = false
            WHERE s.id = current.id RETURNING * INTO STRICT changed;
        END IF;
        PERFORM audit('refunded', current.telegram_id, current.id, subscription_as_json(current),
            subscription_as_json(changed) || jsonb_build_object('payment_id', $1, 'amount_kopecks', paid.amount_kopecks), $2, moment);
        answer := jsonb_build_object('refunded_kopecks', paid.amount_kopecks,
            'balance_kopecks', wallet.balance_kopecks + paid.amount_kopecks, 'expires_at', changed.expires_at);
        PERFORM request_end($3, answer);
    END IF;
    refunded_kopecks := answer ->> 'refunded_kopecks';
    balance_kopecks := answer ->> 'balance_kopecks';
    expires_at := answer ->> 'expires_at';
END $$;

-- What a bot may read.
CREATE VIEW perennial_wallets AS
    SELECT a.telegram_id, a.balance_kopecks FROM accounts a WHERE a.kind = 'wallet';
CREATE VIEW perennial_tariffs AS
    SELECT t.code, t.access_group, t.period_unit, t.period_count, t.price_kopecks FROM tariffs t WHERE t.active;
CREATE VIEW perennial_subscriptions AS
    SELECT s.id AS subscription_id, s.telegram_id, s.source, s.tariff, s.status, s.starts_at, s.expires_at, s.auto_renew,
        c.access_group, c.uuid AS credential_uuid, c.email
    FROM subscriptions s LEFT JOIN credentials c ON c.id = s.credential_id;
CREATE VIEW perennial_payments AS
    SELECT p.id AS payment_id, s.telegram_id, p.subscription_id, p.tariff, p.period_start, p.period_end,
        p.amount_kopecks, p.created_at, p.voided_at
    FROM payments p JOIN subscriptions s ON s.id = p.subscription_id;

-- Nobody but the owner may call anything here until sql/roles.sql grants it.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
