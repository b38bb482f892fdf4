-- The state of our replication slot; no row if there is none.
SELECT plugin::text AS plugin,
       database::text AS database,
       active,
       active_pid,
       coalesce(wal_status, '') AS wal_status,
       confirmed_flush_lsn::text AS confirmed
FROM pg_replication_slots
WHERE slot_name = $1
