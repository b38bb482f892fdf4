-- One table by name: what kind it is and whether it can be served rightly.
SELECT c.oid,
       c.relkind::text AS kind,
       c.relpersistence::text AS persistence,
       c.relreplident::text AS identity,
       row_security_active(c.oid) AS row_security,
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AS has_children,
       c.relispartition AS is_partition,
       has_table_privilege(c.oid, 'SELECT') AS may_select,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate)
         AS has_deferrable_key,
       -- Of each key of which no two rows have one value the columns' numbers, sorted. A deferred one may be violated
       -- for a while, and other operator classes have equalities of their own.
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
WHERE n.nspname = $1 AND c.relname = $2
