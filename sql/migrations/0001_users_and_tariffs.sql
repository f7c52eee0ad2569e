-- Who the customers are and what a period costs.

CREATE TABLE users (
    telegram_id bigint NOT NULL,
    language text,
    time_zone text,
    vip boolean NOT NULL DEFAULT false,
    telegram_unreachable_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (telegram_id),
    CONSTRAINT users_telegram_id_positive CHECK (telegram_id > 0),
    CONSTRAINT users_language_is_a_tag CHECK (language ~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$'),
    -- PostgreSQL itself tries the name: an unknown zone is refused here, not in a text months later.
    CONSTRAINT users_time_zone_exists
        CHECK (time_zone IS NULL OR (timestamptz 'epoch' AT TIME ZONE time_zone) IS NOT NULL)
);
COMMENT ON TABLE users IS 'Customers, by Telegram id. A wallet is opened with each (trigger users_open_wallet).';
COMMENT ON COLUMN users.language IS 'IETF tag as Telegram sends it; null: the operator''s default.';
COMMENT ON COLUMN users.time_zone IS 'IANA name, used for texts and quiet hours only; null: the operator''s default.';
COMMENT ON COLUMN users.vip IS 'VIP price (30 % off the list), which beats a personal discount.';
COMMENT ON COLUMN users.telegram_unreachable_since IS 'Messages cannot be delivered since then; gates messages only, never money.';

CREATE TABLE tariffs (
    code text NOT NULL,
    access_group text NOT NULL DEFAULT 'basic',
    period_unit text NOT NULL,
    period_count integer NOT NULL,
    price_kopecks bigint NOT NULL,
    active boolean NOT NULL DEFAULT true,
    CONSTRAINT tariffs_pkey PRIMARY KEY (code),
    CONSTRAINT tariffs_code_is_plain CHECK (code ~ '^[A-Za-z0-9_.-]{1,64}$'),
    CONSTRAINT tariffs_access_group_is_plain CHECK (access_group ~ '^[A-Za-z0-9_.-]{1,64}$'),
    CONSTRAINT tariffs_period_unit_known CHECK (period_unit IN ('month', 'day')),
    CONSTRAINT tariffs_period_count_sane CHECK (period_count BETWEEN 1 AND 3660),
    -- The upper bound keeps price × 100 inside a bigint.
    CONSTRAINT tariffs_price_sane CHECK (price_kopecks BETWEEN 0 AND 1000000000000)
);
COMMENT ON TABLE tariffs IS 'The only price list. A subscription of a tariff that is missing or not active is parked by renew, never charged by guess.';
COMMENT ON COLUMN tariffs.access_group IS 'Group of inbounds it opens; a credential belongs to one group.';
COMMENT ON COLUMN tariffs.period_count IS 'Length of one period in period_unit (calendar months, or days of 24 h in UTC).';
COMMENT ON COLUMN tariffs.price_kopecks IS 'List price of one period in kopecks; 0 is a valid price.';
COMMENT ON COLUMN tariffs.active IS 'False: withdrawn; neither sold nor renewed.';

CREATE TABLE discounts (
    telegram_id bigint NOT NULL,
    percent integer NOT NULL,
    ends_at timestamptz,
    CONSTRAINT discounts_pkey PRIMARY KEY (telegram_id),
    CONSTRAINT discounts_telegram_id_fkey FOREIGN KEY (telegram_id) REFERENCES users (telegram_id),
    CONSTRAINT discounts_percent_in_range CHECK (percent BETWEEN 0 AND 100)
);
COMMENT ON TABLE discounts IS 'Personal discounts, one a user.';
COMMENT ON COLUMN discounts.percent IS 'Percent off the list price, 0 to 100; 100 makes the price 0, which renews like any other.';
COMMENT ON COLUMN discounts.ends_at IS 'Valid before this moment; null: without end.';

-- The one pricing function: bots price a purchase and renew prices a charge with it, in SQL, which all of them
-- speak. Integers, rounded down to a whole kopeck. An agreed price is charged as it stands; VIP beats a discount.
CREATE FUNCTION price_kopecks(list_kopecks bigint, agreed_kopecks bigint, vip boolean, discount_percent integer)
    RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        agreed_kopecks,
        list_kopecks * (100 - CASE WHEN vip THEN 30 ELSE coalesce(discount_percent, 0) END) / 100
    )
$$;
COMMENT ON FUNCTION price_kopecks IS 'What one period costs this customer, in kopecks. Null when there is no list price.';

-- The anchor day of a period that starts then: the one given while the start lies on it (28 Feb lies on the 31st), else
-- the day of the start. An end that was moved (days granted by hand, a change from days to months) must not make a
-- month shorter or longer than a month.
CREATE FUNCTION anchor_day_at(period_start timestamptz, anchor_day integer)
    RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN extract(day FROM period_start AT TIME ZONE 'UTC') = least(
            anchor_day,
            extract(day FROM date_trunc('month', period_start AT TIME ZONE 'UTC') + interval '1 month -1 day')::integer
        ) THEN anchor_day
        ELSE extract(day FROM period_start AT TIME ZONE 'UTC')::integer
    END
$$;
COMMENT ON FUNCTION anchor_day_at IS 'Day of month (UTC) that monthly periods from period_start on return to.';

-- The one calendar: everything in UTC, so no session time zone can move an end. Months are counted from the anchor
-- day (31 Jan → 28 Feb → 31 Mar); `timestamptz + interval` would depend on the session and forget the 31st.
CREATE FUNCTION period_end(period_start timestamptz, period_unit text, period_count integer, anchor_day integer)
    RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE period_unit
        WHEN 'day' THEN
            ((period_start AT TIME ZONE 'UTC') + make_interval(days => period_count)) AT TIME ZONE 'UTC'
        WHEN 'month' THEN (
            date_trunc('month', period_start AT TIME ZONE 'UTC')
            + make_interval(months => period_count)
            + make_interval(days => least(
                public.anchor_day_at(period_start, anchor_day),
                extract(day FROM date_trunc('month', period_start AT TIME ZONE 'UTC')
                    + make_interval(months => period_count + 1) - interval '1 day')::integer
            ) - 1)
            + ((period_start AT TIME ZONE 'UTC')::time - time '00:00')
        ) AT TIME ZONE 'UTC'
    END
$$;
COMMENT ON FUNCTION period_end IS 'End of the period that starts at period_start; half-open: at the end it is over.';
