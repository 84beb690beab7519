SELECT *
FROM {events}
WHERE "userId" = {learner}
ORDER BY "timestamp", id
