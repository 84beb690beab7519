-- Runs in Postgres. The sessions that hold, or wait before us for, a lock that blocks readers.
SELECT
    l.pid,
    string_agg(DISTINCT format('%I.%I', n.nspname, c.relname), ', ') AS relations,
    bool_or(l.granted) AS granted,
    coalesce(a.usename::text, a.backend_type) AS role_name,
    a.application_name::text AS application_name,
    extract(EPOCH FROM clock_timestamp() - a.xact_start)::bigint AS seconds
FROM pg_locks AS l
INNER JOIN pg_class AS c ON c.oid = l.relation
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE
    l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
GROUP BY l.pid, a.usename, a.backend_type, a.application_name, a.xact_start
ORDER BY granted DESC, seconds DESC NULLS LAST
