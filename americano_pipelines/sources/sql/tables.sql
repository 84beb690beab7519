-- Runs in Postgres. Relations by name: kind, which one it is, whether we may read it, whether policies filter it.
-- Row versions (xmin) show changes of plain tables that Postgres's own heap holds; other storage may have none.
SELECT
    n.nspname::text AS schema_name,
    c.relname::text AS table_name,
    -- A table that is swapped in by renaming, put in its place or rewritten may have the very row versions of the one
    -- before. Rows without versions are hashed whole, so there only the definition counts.
    json_build_array(
        c.oid::bigint,
        c.relkind,
        CASE WHEN versions.are_kept THEN c.relfilenode::bigint END,
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
        (SELECT json_build_array(f.ftserver::bigint, f.ftoptions) FROM pg_foreign_table AS f WHERE f.ftrelid = c.oid)
    )::text AS identity,
    has_table_privilege(c.oid, 'SELECT') AS readable,
    c.relrowsecurity AS row_security,
    versions.are_kept AS has_row_versions
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_am AS m ON m.oid = c.relam
CROSS JOIN LATERAL (
    SELECT c.relkind = 'r' AND NOT c.relhassubclass AND coalesce(m.amname = 'heap', false) AS are_kept
) AS versions
WHERE n.nspname = ANY({schemas}) AND c.relname = ANY({names}) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
