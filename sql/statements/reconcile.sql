-- What has become of the tables that shapes are about: one row for each that still exists.
SELECT c.oid,
       n.nspname::text AS schema,
       c.relname::text AS name,
       -- Another one each time that the table is added to the publication.
       (SELECT coalesce(r.oid, 0)
        FROM pg_publication p
        LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
        WHERE p.pubname = $1 AND (p.puballtables OR r.oid IS NOT NULL)) AS membership,
       -- Of a partitioned table the partitions' identities count.
       c.relreplident = 'f' OR c.relkind = 'p' AS full_identity,
       EXISTS (
         SELECT FROM pg_publication p
         LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
         WHERE p.pubname = $1
           AND (p.puballtables OR r.oid IS NOT NULL)
           AND to_jsonb(r) ->> 'prqual' IS NULL AND to_jsonb(r) ->> 'prattrs' IS NULL
       )
       -- What would be refused today.
       AND NOT row_security_active(c.oid)
       AND c.relpersistence = 'p'
       AND NOT (c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid))
         AS whole,
       coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum > 0), '{}')
         AS column_names,
       coalesce(array_agg(a.atttypid ORDER BY a.attnum) FILTER (WHERE a.attnum > 0), '{}')
         AS column_types,
       coalesce(array_agg(a.atttypmod ORDER BY a.attnum) FILTER (WHERE a.attnum > 0), '{}')
         AS column_modifiers,
       coalesce(array_agg(a.attnum ORDER BY a.attnum) FILTER (WHERE a.attnum > 0), '{}')
         AS column_numbers,
       coalesce(array_agg(a.attnotnull ORDER BY a.attnum) FILTER (WHERE a.attnum > 0), '{}')
         AS column_not_null,
       coalesce(array_agg(a.attcollation ORDER BY a.attnum) FILTER (WHERE a.attnum > 0), '{}')
         AS column_collations,
       coalesce(
         array_agg(coalesce(element.typname, t.typname)::text ORDER BY a.attnum)
           FILTER (WHERE a.attnum > 0),
         '{}') AS column_type_names,
       -- As in columns.sql, each column's as JSON.
       coalesce(
         array_agg(
           to_json({parts})::text
           ORDER BY a.attnum) FILTER (WHERE a.attnum > 0),
         '{}') AS column_parts,
       -- Together these say whether a column was rewritten: new files of the table and a new row of it.
       coalesce(
         array_agg(a.xmin::text::int8 ORDER BY a.attnum) FILTER (WHERE a.attnum > 0),
         '{}') AS column_xmins,
       CASE WHEN c.relkind = 'p' THEN (
         WITH RECURSIVE down AS (
           SELECT c.oid
           UNION ALL
           SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.oid
         )
         SELECT md5(string_agg(l.oid || ':' || l.relfilenode, ' ' ORDER BY l.oid))
         FROM down JOIN pg_class l ON l.oid = down.oid
       ) ELSE c.relfilenode::text END AS files,
       coalesce(
         (SELECT array_agg(k.attname::text ORDER BY array_position(i.indkey::int2[], k.attnum))
          FROM pg_index i
          JOIN pg_attribute k
            ON k.attrelid = i.indrelid AND k.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
          -- One that became deferrable is none any more, see table.sql.
          WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate),
         '{}') AS key,
       -- As of one table alone.
       ARRAY(SELECT (SELECT string_agg(k::text, ' ' ORDER BY k)
                     FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k)
             FROM pg_index i
             WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
               AND i.indpred IS NULL AND i.indexprs IS NULL
               AND NOT EXISTS (
                 SELECT FROM pg_opclass o
                 WHERE o.oid = ANY (i.indclass::oid[]) AND NOT o.opcdefault)
             ORDER BY 1) AS unique_keys
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a
  ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type element
  ON a.attndims > 0 AND t.typcategory = 'A' AND element.oid = t.typelem
WHERE c.oid = ANY ($2)
GROUP BY c.oid, n.nspname, c.relname, c.relreplident, c.relkind
