-- When the first phase of each protocol starts and the last one ends.
SELECT
    protocol_id,
    min(starts_at) AS starts_at,
    max(ends_at) AS ends_at
FROM research.phases
WHERE $scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))
GROUP BY protocol_id
ORDER BY protocol_id
