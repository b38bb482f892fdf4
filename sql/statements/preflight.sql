-- What a server must be and what we may do there.
SELECT current_setting('server_version_num')::int4 AS version,
       current_setting('wal_level') AS wal_level,
       current_setting('server_encoding') AS encoding,
       current_user::text AS role,
       current_database()::text AS database,
       pg_is_in_recovery() AS standby,
       rolsuper OR rolreplication OR EXISTS (
         -- Managed services grant replication through a role of their own.
         SELECT FROM pg_roles g
         WHERE g.rolname IN ('rds_replication', 'cloudsqlsuperuser', 'azure_pg_admin')
           AND pg_has_role(current_user, g.oid, 'MEMBER')
       ) AS may_replicate
FROM pg_roles
WHERE rolname = current_user
