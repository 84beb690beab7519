UPDATE behavioral_events SET "sessionPerformanceScore" = 5
WHERE "timestamp" >= '2025-03-10' AND "timestamp" < '2025-03-12'
