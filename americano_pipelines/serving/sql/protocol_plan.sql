SELECT
    primary_outcome,
    analysis_plan,
    deviations
FROM research.protocols
WHERE
    protocol_id = $protocol
    AND ($scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope)))
LIMIT 1
