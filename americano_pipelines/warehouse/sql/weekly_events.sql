SELECT
    CAST(date_trunc('week', event_time) AS DATE) AS week,
    count(*) AS events,
    count(DISTINCT learner_id) AS learners
FROM {events}
GROUP BY week
ORDER BY week
