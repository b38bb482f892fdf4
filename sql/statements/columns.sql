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
       -- An extension's type has another number in every database. Its operators are the ones that are
       -- found if it is, and they fold case by the database's default collation (100).
       CASE WHEN base.typname = 'citext' AND a.attcollation = 100 AND pg_type_is_visible(b.oid)
         AND EXISTS (
           SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
           WHERE d.classid = 'pg_type'::regclass AND d.objid = b.oid AND d.deptype = 'e'
             AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'citext'
         ) THEN 9998::oid ELSE b.oid END AS base_type_oid,
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
       a.attcollation AS collation,
       -- Of an enum, or of the enum that an array holds.
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e
             WHERE e.enumtypid = coalesce(item.oid, b.oid) ORDER BY e.enumsortorder) AS labels,
       CASE WHEN item.typtype = 'e' THEN item.oid ELSE 0 END AS element_type_oid,
       CASE WHEN coalesce(item.typtype, base.typtype) = 'e'
         THEN (SELECT n.nspname::text FROM pg_namespace n
               WHERE n.oid = coalesce(item.typnamespace, base.typnamespace))
         ELSE '' END AS enum_schema,
       CASE WHEN coalesce(item.typtype, base.typtype) = 'e'
         THEN coalesce(item.typname, base.typname)::text ELSE '' END AS enum_name,
       -- See Column::parts. Built-in types have nothing that could change; theirs are not looked into.
       CASE WHEN a.atttypid < 16384 AND t.typtype <> 'c' THEN '{}'::text[] ELSE ARRAY(
         WITH RECURSIVE inside AS (
           SELECT a.atttypid AS oid
           UNION
           SELECT next.oid
           FROM inside
           JOIN pg_type u ON u.oid = inside.oid
           CROSS JOIN LATERAL (
             SELECT u.typbasetype AS oid WHERE u.typtype = 'd'
             UNION ALL
             SELECT u.typelem WHERE u.typelem <> 0
             UNION ALL
             SELECT r.rngsubtype FROM pg_range r WHERE u.oid IN (r.rngtypid, r.rngmultitypid)
             UNION ALL
             SELECT f.atttypid FROM pg_attribute f
             WHERE u.typtype = 'c' AND f.attrelid = u.typrelid AND f.attnum > 0
               AND NOT f.attisdropped
           ) next
         )
         SELECT 'label ' || e.oid || ' ' || e.enumlabel
         FROM inside JOIN pg_enum e ON e.enumtypid = inside.oid
         UNION ALL
         -- Filters call it by its name.
         SELECT 'enum ' || u.oid || ' ' || s.nspname || '.' || u.typname
         FROM inside JOIN pg_type u ON u.oid = inside.oid AND u.typtype = 'e'
         JOIN pg_namespace s ON s.oid = u.typnamespace
         UNION ALL
         SELECT 'fields ' || u.oid || ' '
                || coalesce(string_agg(f.atttypid || ':' || f.atttypmod, ' ' ORDER BY f.attnum), '')
         FROM inside JOIN pg_type u ON u.oid = inside.oid AND u.typtype = 'c'
         LEFT JOIN pg_attribute f ON f.attrelid = u.typrelid AND f.attnum > 0 AND NOT f.attisdropped
         GROUP BY u.oid
         ORDER BY 1
       ) END AS parts
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN based b ON b.attnum = a.attnum AND b.typtype <> 'd'
JOIN pg_type base ON base.oid = b.oid
LEFT JOIN pg_type item
  ON base.typcategory = 'A' AND base.typlen = -1 AND item.oid = base.typelem
LEFT JOIN pg_type element
  ON a.attndims > 0 AND t.typcategory = 'A' AND element.oid = t.typelem
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY generated, a.attnum
