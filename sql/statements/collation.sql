-- A collation with the database's default resolved. to_jsonb: columns differ between versions.
SELECT n.nspname::text AS schema,
       c.collname::text AS name,
       c.collprovider = 'd' AS is_default,
       CASE WHEN c.collprovider = 'd'
         THEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') ELSE c.collprovider::text
       END AS provider,
       c.collisdeterministic AS deterministic,
       coalesce(CASE WHEN c.collprovider = 'd' THEN d.datcollate ELSE c.collcollate END, '')::text
         AS collate,
       coalesce(CASE WHEN c.collprovider = 'd' THEN d.datctype ELSE c.collctype END, '')::text
         AS ctype,
       -- The column has had two names.
       coalesce(CASE WHEN c.collprovider = 'd'
         THEN coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
         ELSE coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale')
       END, '') AS locale,
       pg_encoding_to_char(d.encoding)::text AS encoding
FROM pg_collation c
JOIN pg_namespace n ON n.oid = c.collnamespace
JOIN pg_database d ON d.datname = current_database()
WHERE c.oid = $1
