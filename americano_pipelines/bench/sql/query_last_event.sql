SELECT "userId" AS learner_id, max("timestamp") AS last_event
FROM {events}
GROUP BY 1
ORDER BY 1
