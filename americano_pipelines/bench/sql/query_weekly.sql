SELECT CAST(date_trunc('week', "timestamp") AS date) AS week, count(*) AS events, count(DISTINCT "userId") AS learners
FROM {events}
GROUP BY 1
ORDER BY 1
