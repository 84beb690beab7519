SELECT
    CAST(date_trunc('day', event_time) AS DATE) AS day,
    event_type,
    count(*) AS events
FROM research.events
WHERE
    learner_id = $learner
    AND ($scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope)))
GROUP BY 1, 2
ORDER BY 1, 2
