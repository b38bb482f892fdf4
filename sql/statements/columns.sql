-- The columns of a table: replicated ones in attribute order first, generated ones last.
WITH RECURSIVE based AS (
  SELECT a.attnum, t.oid, t.typtype, t.typbasetype
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, t.oid, t.typtype, t.typbasetype
  FROM based b JOIN pg_type t ON t.oid = b.typbasetype
  WHERE b.typtype = 'd'
)
SELECT a.attname::text AS name,
       a.attnum AS number,
       a.atttypid AS type_oid,
       b.oid AS base_type_oid,
       coalesce(element.typname, t.typname)::text AS type_name,
       a.atttypmod AS type_modifier,
       CASE WHEN element.oid IS NULL THEN 0 ELSE a.attndims END::int4 AS dimensions,
       -- Newer versions know NOT NULL that nobody has checked yet.
       a.attnotnull AND NOT EXISTS (
         SELECT FROM pg_constraint k
         WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated
           AND a.attnum = ANY (k.conkey)
       ) AS not_null,
       -- int2vector counts from 0.
       array_position(i.indkey::int2[], a.attnum)::int4 AS key_position,
       a.attgenerated <> '' AS generated,
       a.attcollation AS collation
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN based b ON b.attnum = a.attnum AND b.typtype <> 'd'
LEFT JOIN pg_type element
  ON a.attndims > 0 AND t.typcategory = 'A' AND element.oid = t.typelem
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY generated, a.attnum
