SELECT protocol_id
FROM research.protocols
WHERE
    protocol_id = $protocol
    AND ($scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope)))
LIMIT 1
