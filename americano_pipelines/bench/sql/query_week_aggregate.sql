SELECT "eventType" AS event_type, count(*) AS events, avg("sessionPerformanceScore") AS mean
FROM {events}
WHERE "timestamp" >= '2025-03-10' AND "timestamp" < '2025-03-17'
GROUP BY 1
ORDER BY 1
