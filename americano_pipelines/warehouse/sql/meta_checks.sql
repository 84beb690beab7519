WITH checks AS (
    SELECT unnest(CAST(document->'checks' AS JSON[])) AS entry
    FROM meta.snapshot
)

SELECT
    entry->>'table' AS table_name,
    entry->>'name' AS check_name,
    CAST(entry->>'passed' AS BOOLEAN) AS passed,
    CAST(entry->>'blocking' AS BOOLEAN) AS blocking,
    entry->>'description' AS description,
    entry->'figures' AS figures
FROM checks
