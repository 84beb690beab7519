SELECT
    CAST({protocol} AS VARCHAR) AS protocol_id,
    strftime(max(try_cast({updated} AS TIMESTAMP)), '%Y-%m-%dT%H:%M:%S+00:00') AS updated
FROM {table}
WHERE {protocol} IS NOT NULL AND try_cast({updated} AS TIMESTAMP) IS NOT NULL
GROUP BY 1
