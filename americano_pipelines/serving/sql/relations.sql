SELECT schema_name || '.' || table_name AS name
FROM (
    SELECT schema_name, table_name, database_name FROM duckdb_tables()
    UNION ALL
    SELECT schema_name, view_name AS table_name, database_name FROM duckdb_views()
)
WHERE database_name = current_database() AND schema_name IN ('research', 'meta')
