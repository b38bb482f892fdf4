-- Our publication; no row if there is none.
SELECT oid,
       puballtables AS all_tables,
       pubinsert AND pubupdate AND pubdelete AND pubtruncate AS complete,
       pubviaroot AS via_root
FROM pg_publication
WHERE pubname = $1
