SELECT
    table_schema,
    table_name
FROM information_schema.tables
WHERE table_catalog = current_database() AND table_schema IN ('analytics', 'research', 'meta')
ORDER BY table_schema DESC, table_name
