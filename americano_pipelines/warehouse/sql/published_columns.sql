SELECT
    table_name,
    map(list(column_name), list(data_type)) AS columns
FROM duckdb_columns()
WHERE database_name = $1 AND schema_name = 'analytics'
GROUP BY table_name
