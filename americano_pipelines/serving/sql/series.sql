SELECT
    day,
    starts_at,
    phase,
    condition,
    value,
    events,
    CASE
        WHEN phase IS NULL THEN 'a phase starts or ends on this day, or it is in none'
        WHEN value IS NULL THEN 'no event of this day has an outcome'
    END AS left_out
FROM research.daily_outcomes
WHERE
    protocol_id = $protocol
    AND ($scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope)))
ORDER BY day
