SELECT
    {key} AS {name},
    count(*) AS events
FROM research.protocol_events
WHERE protocol_id = $1
GROUP BY 1
ORDER BY 1
