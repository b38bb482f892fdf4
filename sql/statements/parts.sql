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
) END
