-- Runs in Postgres. Relations by name: kind, whether we may read them, whether policies filter them.
SELECT
    n.nspname::text AS schema_name,
    c.relname::text AS table_name,
    c.relkind::text AS kind,
    has_table_privilege(c.oid, 'SELECT') AS readable,
    c.relrowsecurity AS row_security,
    c.relkind = 'r' AND NOT c.relhassubclass AS has_row_versions
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY({schemas}) AND c.relname = ANY({names}) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
