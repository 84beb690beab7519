-- Runs in Postgres. What distinguishes this database's history from another's, and the instant itself.
SELECT json_build_object(
    'taken_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'server_version', current_setting('server_version'),
    'in_recovery', pg_is_in_recovery(),
    'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
    'timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
    'started_at', pg_postmaster_start_time(),
    -- Of two copies of one data folder that both go on, only where they answer differs.
    'address', coalesce(host(inet_server_addr()), 'socket') || ':' || current_setting('port'),
    'database', current_database(),
    'database_oid', (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
    'xmin', pg_snapshot_xmin(pg_current_snapshot())::text,
    'xmax', pg_snapshot_xmax(pg_current_snapshot())::text,
    'row_security', current_setting('row_security'),
    'role', current_user,
    'bypasses_rls', (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user)
)::text AS identity
