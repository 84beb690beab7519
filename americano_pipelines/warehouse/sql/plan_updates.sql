-- Of each protocol, when its rows were last changed; NULL unless each of them has a time that can be true.
SELECT
    CAST({protocol} AS VARCHAR) AS protocol_id,
    CASE
        WHEN bool_and(coalesce(CAST({updated} AS TIMESTAMP) BETWEEN TIMESTAMP '2000-01-01' AND $instant, FALSE))
        THEN strftime(max(CAST({updated} AS TIMESTAMP)), '%Y-%m-%dT%H:%M:%S+00:00')
    END AS updated
FROM {table}
WHERE {protocol} IS NOT NULL
GROUP BY 1
