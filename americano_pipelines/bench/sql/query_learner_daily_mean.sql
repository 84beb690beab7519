SELECT CAST(date_trunc('day', "timestamp") AS date) AS day, avg("sessionPerformanceScore") AS mean
FROM {events}
WHERE "userId" = {learner}
GROUP BY 1
ORDER BY 1
