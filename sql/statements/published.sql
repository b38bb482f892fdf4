-- Whether a table's changes reach us whole: published, and old rows complete.
SELECT c.relreplident = 'f' AS full_identity,
       EXISTS (
         SELECT FROM pg_publication p
         LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
         WHERE p.pubname = $1 AND (p.puballtables OR r.oid IS NOT NULL)
       ) AS published
FROM pg_class c
WHERE c.oid = $2
