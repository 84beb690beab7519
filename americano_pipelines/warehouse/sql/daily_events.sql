SELECT
    CAST(date_trunc('day', event_time) AS DATE) AS day,
    count(*) AS events,
    count(DISTINCT learner_id) AS learners
FROM {events}
GROUP BY day
ORDER BY day
