-- A table that the stream announces, and the partitioned tables it is a part of, as far as they are
-- published by name: where its changes have to go. `created`: it was a part of them from its first
-- row on (its attributes were never touched since CREATE TABLE … PARTITION OF). `link`: which
-- attachment it is: another one after DETACH and ATTACH.
WITH RECURSIVE up AS (
  SELECT c.oid, true AS created, '' AS link, 0 AS level FROM pg_class c WHERE c.oid = $2
  UNION ALL
  SELECT i.inhparent,
         up.created AND i.xmin = t.xmin AND (
           SELECT bool_and(a.xmin = t.xmin AND a.cmin::text = t.cmin::text)
           FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         ),
         up.link || i.xmin::text || '.',
         up.level + 1
  FROM up
  JOIN pg_class c ON c.oid = up.oid AND c.relispartition
  JOIN pg_type t ON t.oid = c.reltype
  JOIN pg_inherits i ON i.inhrelid = c.oid AND NOT i.inhdetachpending
)
SELECT up.oid,
       up.created,
       up.link,
       n.nspname::text AS schema,
       c.relname::text AS name,
       array_agg(a.attname::text ORDER BY a.attnum) AS column_names,
       array_agg(a.atttypid ORDER BY a.attnum) AS column_types,
       array_agg(a.atttypmod ORDER BY a.attnum) AS column_modifiers
FROM up
JOIN pg_class c ON c.oid = up.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a
  ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE EXISTS (
  SELECT FROM pg_publication p
  LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
  WHERE p.pubname = $1 AND (p.puballtables OR r.oid IS NOT NULL)
)
GROUP BY up.oid, up.created, up.link, up.level, n.nspname, c.relname
ORDER BY up.level
