SELECT CAST(date_trunc('day', "timestamp") AS date) AS day, count(*) AS events, count(DISTINCT "userId") AS learners
FROM {events}
GROUP BY 1
ORDER BY 1
