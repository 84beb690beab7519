-- Runs in both engines.
SELECT
    CAST(date_trunc('month', "timestamp") AS DATE) AS month,
    count(*) AS row_count,
    CAST(min("timestamp") AS TIMESTAMP) AS first_time,
    CAST(max("timestamp") AS TIMESTAMP) AS last_time
FROM {relation}
GROUP BY 1
ORDER BY 1
