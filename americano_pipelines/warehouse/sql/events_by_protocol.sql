SELECT
    protocol_id,
    count(*) AS events,
    count(DISTINCT learner_id) AS learners
FROM research.protocol_events
GROUP BY protocol_id
ORDER BY protocol_id
