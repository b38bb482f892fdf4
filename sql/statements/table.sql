-- One table by name: what kind it is and whether it can be served rightly.
SELECT c.oid,
       c.relkind::text AS kind,
       c.relpersistence::text AS persistence,
       c.relreplident::text AS identity,
       row_security_active(c.oid) AS row_security,
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AS has_children,
       c.relispartition AS is_partition,
       has_table_privilege(c.oid, 'SELECT') AS may_select
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
