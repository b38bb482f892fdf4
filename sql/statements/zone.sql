-- A time zone by its name: its first offset, where it changes, and whether its rules go on like that.
-- No row where the server has none of the name, or where the name is an abbreviation too.
-- Names are compared by ASCII: by other rules, Turkish ones, an I has another small letter.
WITH RECURSIVE known AS MATERIALIZED (
  SELECT name FROM pg_timezone_names
  WHERE lower(name COLLATE "C") = lower($1::text COLLATE "C")
    AND NOT EXISTS (SELECT FROM pg_timezone_abbrevs WHERE lower(abbrev COLLATE "C") = lower($1::text COLLATE "C"))
  LIMIT 1
),
-- Every twelve hours from 1800 to 2500. (Were the end a constant, the number of rows would be known and
-- make Postgres compile the query, for longer than it runs.)
grid AS MATERIALIZED (
  SELECT s AS at,
         extract(epoch FROM (to_timestamp(s) AT TIME ZONE name) - (to_timestamp(s) AT TIME ZONE 'UTC'))::int4 AS "offset"
  FROM known, generate_series(-5364662400, (SELECT 16725225600), 43200) AS s
),
steps AS (
  SELECT at - 43200 AS low, at AS high, lag("offset") OVER (ORDER BY at) AS before, "offset" AS after
  FROM grid
),
-- To the second, by halves.
halves AS (
  SELECT low, high, before, after FROM steps WHERE before <> after
  UNION ALL
  SELECT CASE WHEN same THEN middle ELSE low END, CASE WHEN same THEN high ELSE middle END, before, after
  FROM halves, known,
       LATERAL (SELECT (low + high) / 2 AS middle) AS half,
       LATERAL (SELECT extract(epoch FROM (to_timestamp(middle) AT TIME ZONE name)
                                          - (to_timestamp(middle) AT TIME ZONE 'UTC')) = before AS same) AS test
  WHERE high - low > 1
),
changes AS MATERIALIZED (
  SELECT high AS at, before, after FROM halves WHERE high - low = 1
),
first AS (
  SELECT "offset" FROM grid WHERE at = -5364662400
),
-- The instants that show whether it goes on, and what the offset should be there: the first one before
-- 1800; behind 2500 that of 400 years ago; at a change the new one.
expected AS (
  SELECT s AS at, (SELECT "offset" FROM first) AS "offset"
  FROM unnest(ARRAY[-210866000000, -210850000000, -62135596800, -62120000000, -30610224000, -30600000000,
                    -5380000000, -5370000000]) AS s
  UNION ALL
  SELECT at, after FROM changes
  UNION ALL
  SELECT at - side + cycles * 12622780800, CASE side WHEN 0 THEN after ELSE before END
  FROM changes, unnest(ARRAY[0, 1]) AS side, unnest(ARRAY[1, 2, 725]) AS cycles
  WHERE at >= 4102444800
  UNION ALL
  SELECT at + cycles * 12622780800, "offset"
  FROM grid, unnest(ARRAY[1, 725]) AS cycles
  WHERE at >= 4102444800 AND at % (7 * 86400) = 0
)
SELECT name::text AS name,
       (SELECT "offset" FROM first) AS "first",
       ARRAY(SELECT at FROM changes ORDER BY at) AS at,
       ARRAY(SELECT before FROM changes ORDER BY at) AS before,
       ARRAY(SELECT after FROM changes ORDER BY at) AS after,
       -- By 24 hours and seconds: so far away the microseconds of a number of seconds are rounded, and zones of half
       -- hours change at such an instant.
       (SELECT bool_and(extract(epoch FROM (instant AT TIME ZONE name) - (instant AT TIME ZONE 'UTC')) = "offset")
        FROM expected, LATERAL (SELECT to_timestamp(at % 86400) + at / 86400 * interval '24 hours' AS instant) AS place
       ) AS goes_on
FROM known
