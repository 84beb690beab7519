SELECT "userId", count(*) AS events
FROM analytics.behavioral_events
GROUP BY 1
ORDER BY 2, 1
