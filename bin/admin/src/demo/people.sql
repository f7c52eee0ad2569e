-- Makes up people: who they are and what becomes of them. Reads demo.seed, demo.first_id, demo.users; temporary tables
-- only. Same seed, same people; their times count back and forth from now.

-- A number from 0 to below, the same for the same question.
CREATE FUNCTION pg_temp.roll(question text, id bigint, below bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT ('x' || left(md5(concat_ws(':', current_setting('demo.seed'), question,
        id - current_setting('demo.first_id')::bigint)), 15))::bit(60)::bigint % below
$$;
CREATE FUNCTION pg_temp.rounded_up(kopecks bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT (kopecks + 4999) / 5000 * 5000
$$;

INSERT INTO tariffs (code, access_group, period_unit, period_count, price_kopecks, active) VALUES
    ('basic_30', 'basic', 'day', 30, 19900, true),
    ('basic_1m', 'basic', 'month', 1, 19900, true),
    ('basic_3m', 'basic', 'month', 3, 53900, true),
    ('plus_1m', 'plus', 'month', 1, 34900, true),
    ('plus_12m', 'plus', 'month', 12, 299000, true),
    ('basic_7', 'basic', 'day', 7, 5900, false)
ON CONFLICT ON CONSTRAINT tariffs_pkey DO NOTHING;

-- So many of a thousand. What begins with due is charged by the next pass of renew, or should be.
CREATE TEMP TABLE kinds (kind text, share integer, paid boolean, auto_renew boolean) ON COMMIT DROP;
INSERT INTO kinds VALUES
    ('mid-period', 416, true, true),
    ('due, funded', 120, true, true),
    ('due, short', 60, true, true),
    ('due, within grace', 10, true, true),
    ('due, VIP', 20, true, true),
    ('due, discount', 30, true, true),
    ('due, free of charge', 10, true, true),
    ('due, agreed price', 20, true, true),
    ('due, tariff withdrawn', 2, true, true),
    ('due, tariff unknown', 2, true, true),
    ('does not renew', 60, true, false),
    ('over, not ended yet', 10, true, false),
    ('ended long ago', 80, true, false),
    ('ended just now', 10, true, false),
    ('trial', 60, false, false),
    ('trial over', 30, false, false),
    ('grant', 30, false, false),
    ('only looking', 30, false, false);

CREATE TEMP TABLE people ON COMMIT DROP AS
WITH slots AS (
    SELECT k.*, sum(k.share) OVER (ORDER BY k.share DESC, k.kind) - k.share AS first_slot FROM kinds k
),
dealt AS (
    SELECT id, k.kind, k.paid, k.auto_renew
    FROM generate_series(current_setting('demo.first_id')::bigint,
        current_setting('demo.first_id')::bigint + current_setting('demo.users')::bigint - 1) AS id
    -- 37 and 1000 have no common divisor: of every thousand people each kind gets its share.
    JOIN slots k ON (id * 37 + current_setting('demo.seed')::bigint) % 1000
        BETWEEN k.first_slot AND k.first_slot + k.share - 1
),
sold AS (
    SELECT d.*,
        CASE d.kind
            WHEN 'due, tariff withdrawn' THEN 'basic_7'
            WHEN 'due, tariff unknown' THEN 'summer_2019'
            ELSE (ARRAY['basic_30', 'basic_30', 'basic_1m', 'basic_1m', 'basic_1m', 'basic_3m', 'plus_1m', 'plus_1m',
                'plus_12m'])[1 + pg_temp.roll('tariff', d.id, 9)]
        END AS tariff,
        d.kind = 'due, VIP' OR (d.kind = 'mid-period' AND pg_temp.roll('vip', d.id, 40) = 0) AS vip,
        CASE d.kind WHEN 'due, discount' THEN (ARRAY[10, 20, 50])[1 + pg_temp.roll('percent', d.id, 3)]
            WHEN 'due, free of charge' THEN 100 END AS discount,
        CASE d.kind
            WHEN 'due, within grace' THEN now() - make_interval(secs => 60 + pg_temp.roll('end', d.id, 240))
            WHEN 'over, not ended yet' THEN now() - make_interval(mins => 120 + pg_temp.roll('end', d.id, 500)::integer)
            WHEN 'ended just now' THEN now() - make_interval(mins => 2 + pg_temp.roll('end', d.id, 28)::integer)
            WHEN 'ended long ago' THEN now() - make_interval(hours => 48 + pg_temp.roll('end', d.id, 4000)::integer)
            -- Nobody's end lies where a few seconds decide: at the window of 6 h, at the final notice an hour before, at
            -- the announcement of a charge a day before.
            WHEN 'mid-period' THEN now() + make_interval(mins => 420 + pg_temp.roll('end', d.id, 28000)::integer
                + CASE WHEN pg_temp.roll('end', d.id, 28000) >= 1000 THEN 60 ELSE 0 END)
            WHEN 'does not renew' THEN now() + make_interval(mins => 420 + pg_temp.roll('end', d.id, 28000)::integer)
            ELSE now() + make_interval(secs => CASE WHEN pg_temp.roll('soon', d.id, 6) = 0
                THEN 600 + pg_temp.roll('end', d.id, 2400) ELSE 4500 + pg_temp.roll('end', d.id, 16200) END)
        END AS ends
    FROM dealt d
)
SELECT s.id, s.kind, s.paid, s.auto_renew, s.vip, s.discount, s.tariff, s.ends,
    -- Every third customer began with a trial.
    s.paid AND pg_temp.roll('tried', s.id, 3) = 0 AS tried,
    coalesce(t.access_group, 'basic') AS access_group,
    coalesce(t.period_unit, 'day') AS period_unit,
    coalesce(t.period_count, 30) AS period_count,
    CASE WHEN s.kind = 'due, agreed price' THEN coalesce(t.price_kopecks, 15000) * 3 / 4 END AS agreed,
    price_kopecks(coalesce(t.price_kopecks, 15000),
        CASE WHEN s.kind = 'due, agreed price' THEN coalesce(t.price_kopecks, 15000) * 3 / 4 END, s.vip, s.discount)
        AS price,
    extract(day FROM s.ends AT TIME ZONE 'UTC')::integer AS anchor,
    (1 + pg_temp.roll('periods', s.id, CASE WHEN s.tariff = 'plus_12m' THEN 2 ELSE 6 END))::integer AS periods,
    (ARRAY['ru', 'ru', 'ru', 'ru', 'ru', 'ru', 'ru', 'en', 'en', 'uk', 'kk', 'de', NULL])
        [1 + pg_temp.roll('language', s.id, 13)] AS language,
    (ARRAY['Europe/Moscow', 'Europe/Moscow', 'Europe/Moscow', 'Europe/Kaliningrad', 'Asia/Yekaterinburg',
        'Asia/Novosibirsk', 'Asia/Vladivostok', 'Asia/Almaty', 'Europe/Berlin', NULL])
        [1 + pg_temp.roll('zone', s.id, 10)] AS time_zone
FROM sold s
LEFT JOIN tariffs t ON t.code = s.tariff;
CREATE UNIQUE INDEX ON people (id);
ANALYZE people;

-- Every period anybody has paid for. Counted from the end backwards, months always to the anchor day.
CREATE TEMP TABLE periods ON COMMIT DROP AS
SELECT p.id, n,
    period_end(p.ends, p.period_unit, -p.period_count * (p.periods - n), p.anchor) AS starts,
    period_end(p.ends, p.period_unit, -p.period_count * (p.periods - n - 1), p.anchor) AS ends,
    n > 0 AND (p.auto_renew OR (p.kind = 'ended long ago' AND pg_temp.roll('renewed', p.id, 2) = 0)) AS by_renew
FROM people p
CROSS JOIN LATERAL generate_series(0, p.periods - 1) AS n
WHERE p.paid;
ALTER TABLE periods ADD COLUMN at timestamptz;
UPDATE periods q SET at = CASE
    WHEN q.n = 0 THEN q.starts
    WHEN q.by_renew THEN q.starts - interval '6 hours' + make_interval(secs => pg_temp.roll('pass', q.id + q.n, 600))
    ELSE q.starts - make_interval(mins => 10 + pg_temp.roll('early', q.id + q.n, 2000)::integer)
END;
CREATE UNIQUE INDEX ON periods (id, n);
ANALYZE periods;

-- Money in: what each period costs, in round sums, a while before; and what makes the next one possible, or not.
CREATE TEMP TABLE top_ups ON COMMIT DROP AS
SELECT p.id, q.n::text AS name, pg_temp.rounded_up(p.price) AS kopecks,
    q.at - make_interval(mins => 3 + pg_temp.roll('ahead', p.id + q.n, 50)::integer) AS at
FROM people p
JOIN periods q ON q.id = p.id
WHERE p.price > 0
UNION ALL
SELECT p.id, 'next',
    CASE WHEN p.kind = 'due, short' THEN greatest(p.price / 3 / 1000 * 1000, 1000)
        ELSE pg_temp.rounded_up(p.price) + pg_temp.roll('spare', p.id, 4) * 10000 END,
    now() - make_interval(mins => 30 + pg_temp.roll('lately', p.id, 3000)::integer)
FROM people p
WHERE (p.kind IN ('due, funded', 'due, within grace', 'due, VIP', 'due, discount', 'due, agreed price', 'due, short')
        OR (p.kind IN ('mid-period', 'only looking') AND pg_temp.roll('funded', p.id, 2) = 0))
    AND p.price > 0;
CREATE INDEX ON top_ups (id);
ANALYZE top_ups;
