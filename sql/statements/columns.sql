-- The columns of a table: replicated ones in attribute order first, generated ones last.
WITH RECURSIVE based AS (
  SELECT a.attnum, t.oid, t.typtype, t.typbasetype, t.typtypmod, -1 AS modifier
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, t.oid, t.typtype, t.typbasetype, t.typtypmod, b.typtypmod
  FROM based b JOIN pg_type t ON t.oid = b.typbasetype
  WHERE b.typtype = 'd'
),
-- What arrays hold, and what that is made of: `first` is what is declared, a length or digits are the last domain's.
held AS (
  SELECT b.attnum, e.oid AS first, e.oid, e.typname, e.typnamespace, e.typtype, e.typbasetype,
         e.typarray, e.typtypmod, -1 AS modifier
  FROM based b
  JOIN pg_type t ON t.oid = b.oid AND t.typcategory = 'A' AND t.typlen = -1
  JOIN pg_type e ON e.oid = t.typelem
  WHERE b.typtype <> 'd'
  UNION ALL
  SELECT h.attnum, h.first, e.oid, e.typname, e.typnamespace, e.typtype, e.typbasetype,
         e.typarray, e.typtypmod, h.typtypmod
  FROM held h JOIN pg_type e ON e.oid = h.typbasetype
  WHERE h.typtype = 'd'
)
SELECT a.attname::text AS name,
       a.attnum AS number,
       a.atttypid AS type_oid,
       -- An extension's type has another number in every database. Its operators are the ones that are
       -- found if it is, and they fold case by the database's default collation (100).
       CASE WHEN 'citext' IN (base.typname, item.typname) AND a.attcollation = 100
         AND pg_type_is_visible(coalesce(item.oid, b.oid))
         AND EXISTS (
           SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
           WHERE d.classid = 'pg_type'::regclass AND d.objid = coalesce(item.oid, b.oid)
             AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
             AND x.extname = 'citext'
         ) THEN CASE WHEN item.oid IS NULL THEN 9998 ELSE 9999 END::oid
         -- An array of a domain is one of what the domain is made of; there is none of arrays.
         WHEN item.first <> item.oid AND item.typarray <> 0 THEN item.typarray
         ELSE b.oid END AS base_type_oid,
       coalesce(element.typname, t.typname)::text AS type_name,
       a.atttypmod AS type_modifier,
       CASE WHEN element.oid IS NULL THEN 0 ELSE a.attndims END::int4 AS dimensions,
       -- Newer versions know NOT NULL that nobody has checked yet.
       a.attnotnull AND NOT EXISTS (
         SELECT FROM pg_constraint k
         WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated
           AND a.attnum = ANY (k.conkey)
       ) AS not_null,
       -- Columns that the key's index INCLUDEs are no part of it. A slice counts from 1.
       array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum)::int4 - 1 AS key_position,
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
       coalesce(domain.oid, 0) AS domain_oid,
       coalesce(item.modifier, b.modifier) AS domain_modifier,
       coalesce((SELECT n.nspname::text FROM pg_namespace n WHERE n.oid = domain.typnamespace), '') AS domain_schema,
       coalesce(domain.typname::text, '') AS domain_name,
       {parts} AS parts
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN based b ON b.attnum = a.attnum AND b.typtype <> 'd'
JOIN pg_type base ON base.oid = b.oid
LEFT JOIN held item ON item.attnum = a.attnum AND item.typtype <> 'd'
LEFT JOIN pg_type domain
  ON domain.oid = coalesce(item.first, t.oid) AND domain.oid <> coalesce(item.oid, b.oid)
LEFT JOIN pg_type element
  ON a.attndims > 0 AND t.typcategory = 'A' AND element.oid = t.typelem
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY generated, a.attnum
