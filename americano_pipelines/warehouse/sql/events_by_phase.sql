SELECT
    phase,
    count(*) AS events,
    count(DISTINCT learner_id) AS learners
FROM research.events
GROUP BY phase
ORDER BY phase
