WITH documents AS (
    SELECT
        document,
        json_keys(document, '$.tables') AS tables,
        json_keys(document, '$.models') AS models
    FROM meta.snapshot
),

listed AS (
    SELECT
        'analytics' AS schema_name,
        unnest(tables) AS table_name,
        document->'tables' AS content
    FROM documents
    UNION ALL
    SELECT
        'research' AS schema_name,
        unnest(models) AS table_name,
        document->'models' AS content
    FROM documents
),

described AS (
    SELECT
        schema_name,
        table_name,
        json_extract(content, '$."' || table_name || '"') AS entry
    FROM listed
)

SELECT
    schema_name,
    table_name,
    CASE
        WHEN schema_name = 'analytics' THEN 'mirror'
        WHEN CAST(entry->>'rows' AS BIGINT) IS NULL THEN 'view'
        ELSE 'rollup'
    END AS kind,
    CAST(entry->>'rows' AS BIGINT) AS rows,
    CAST(entry->>'source_rows' AS BIGINT) AS source_rows,
    entry->>'found_as' AS source,
    CAST(CAST(entry->>'instant' AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP) AS instant,
    CAST(entry->>'carried_over' AS BOOLEAN) AS carried_over,
    entry->>'state_sha256' AS state_sha256
FROM described
