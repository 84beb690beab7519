SELECT CAST(date_trunc('day', "timestamp") AS date) AS day, count(*) AS events, count(DISTINCT "userId") AS learners
FROM {events}
WHERE "timestamp" >= '2025-03-01' AND "timestamp" < '2025-04-30'
GROUP BY 1
ORDER BY 1
