-- Whether a table and its partitions are stored in the files that this transaction's snapshot knows:
-- pg_class is read through the snapshot, pg_relation_filenode() looks at the catalogue as it is now.
SELECT NOT EXISTS (
  SELECT FROM (SELECT $1::oid AS oid UNION SELECT relid FROM pg_partition_tree($1::oid)) now
  LEFT JOIN pg_class c USING (oid)
  WHERE c.relfilenode IS DISTINCT FROM coalesce(pg_relation_filenode(now.oid), 0)
)
