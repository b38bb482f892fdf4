-- What says whether a table is still what reconcile.sql found: the versions of all rows of the catalogue that are read there, of
-- an ordinary table without types of its own that would not be refused. No row where all has to be looked at.
SELECT c.oid,
       concat(c.xmin, '/', c.relfilenode, '/', n.xmin, '/',
              (SELECT concat(p.oid, ':', p.xmin) FROM pg_publication p WHERE p.pubname = $1), '/',
              ARRAY(SELECT concat(r.oid, ':', r.xmin) FROM pg_publication_rel r WHERE r.prrelid = c.oid), '/',
              ARRAY(SELECT a.xmin FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0), '/',
              -- Older versions change this one in place.
              ARRAY(SELECT concat(i.xmin, ':', i.indisvalid) FROM pg_index i WHERE i.indrelid = c.oid)) AS mark
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($2)
  AND c.relkind = 'r'
  -- These are asked anew each time.
  AND NOT row_security_active(c.oid)
  AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
