-- Runs in Postgres. What decides how many connections a snapshot may have.
-- A standby, RDS and Aurora: DuckDB's extension shares no snapshot there (duckdb-postgres#381, #524).
SELECT json_build_object(
    'version', current_setting('server_version_num')::int,
    'shares_snapshots',
        NOT pg_is_in_recovery()
        AND NOT EXISTS (SELECT FROM pg_stat_wal_receiver)
        AND NOT EXISTS (SELECT FROM pg_settings WHERE name LIKE 'rds%')
        AND has_function_privilege('pg_export_snapshot()', 'EXECUTE'),
    'largest_pages', (SELECT coalesce(max(relpages), 0) FROM pg_class WHERE relkind IN ('r', 'm')),
    'settings', (SELECT json_object_agg(name, json_build_array(setting, source)) FROM pg_settings WHERE name IN ({names}))
)::text AS server
