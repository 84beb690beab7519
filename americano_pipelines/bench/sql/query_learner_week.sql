SELECT *
FROM {events}
WHERE "userId" = {learner} AND "timestamp" >= '2025-03-10' AND "timestamp" < '2025-03-17'
ORDER BY "timestamp", id
