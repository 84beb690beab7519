-- Runs in Postgres. Which connection this is, its snapshot, and every setting it has.
SELECT json_build_object(
    'pid', pg_backend_pid(),
    'snapshot', pg_current_snapshot()::text,
    'began_at', transaction_timestamp()::text,
    'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN ({names}))
)::text AS session
