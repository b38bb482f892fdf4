-- Whether a table's changes reach us whole: published, and old rows complete.
SELECT c.relreplident = 'f' AS full_identity,
       -- Another one each time that the table is added; 0 where all tables are published, NULL where it is not.
       (SELECT coalesce(r.oid, 0)
        FROM pg_publication p
        LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
        WHERE p.pubname = $1 AND (p.puballtables OR r.oid IS NOT NULL)) AS membership,
       EXISTS (
         -- Columns of newer versions.
         SELECT FROM pg_publication p
         JOIN pg_publication_rel r
           ON r.prpubid = p.oid AND (r.prrelid = c.oid OR r.prrelid = ANY ($3))
         WHERE p.pubname = $1
           AND (to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL)
       ) AS filtered
FROM pg_class c
WHERE c.oid = $2
