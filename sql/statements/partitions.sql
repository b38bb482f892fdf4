-- The partitions with rows of partitioned tables. `created`, `link`: as in ways.sql. `kind` other than r and
-- `persistence` other than p: not in the stream.
WITH RECURSIVE down AS (
  SELECT c.oid AS root, c.oid, true AS created, '' AS link
  FROM pg_class c WHERE c.oid = ANY ($1) AND c.relkind = 'p'
  UNION ALL
  SELECT down.root,
         c.oid,
         down.created AND i.xmin = t.xmin AND (
           SELECT bool_and(a.xmin = t.xmin AND a.cmin::text = t.cmin::text)
           FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         ),
         -- From the bottom up, as ways.sql says it.
         i.xmin::text || '.' || down.link
  FROM down
  JOIN pg_inherits i ON i.inhparent = down.oid AND NOT i.inhdetachpending
  JOIN pg_class c ON c.oid = i.inhrelid
  JOIN pg_type t ON t.oid = c.reltype
)
SELECT down.root,
       c.oid,
       down.created,
       down.link,
       n.nspname::text AS schema,
       c.relname::text AS name,
       c.relkind::text AS kind,
       c.relpersistence::text AS persistence,
       c.relreplident = 'f' AS full_identity
FROM down
JOIN pg_class c ON c.oid = down.oid AND c.relkind <> 'p'
JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY down.root, c.oid
