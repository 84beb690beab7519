-- Runs in DuckDB: a relation cut into ranges of its sort key of about so many bytes each; the last key of every range.
SELECT CAST(max(key) AS VARCHAR) AS last_key
FROM (
    SELECT key, CAST(floor((sum(bytes) OVER (ORDER BY key NULLS LAST)) / {budget}) AS BIGINT) AS part
    FROM (SELECT {key} AS key, sum({bytes}) AS bytes FROM {relation} GROUP BY ALL)
    WHERE key IS NOT NULL
)
GROUP BY part
ORDER BY part
