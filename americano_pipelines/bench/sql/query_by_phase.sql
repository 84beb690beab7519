SELECT "experimentPhase" AS phase, count(*) AS events, count(DISTINCT "userId") AS learners
FROM {events}
GROUP BY 1
ORDER BY 1
