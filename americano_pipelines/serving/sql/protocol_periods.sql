-- When the first phase of each protocol starts and the last one ends; a phase without an end may not be over.
SELECT
    protocol_id,
    min(starts_at) AS starts_at,
    CASE WHEN count(*) = count(ends_at) THEN max(ends_at) END AS ends_at
FROM research.phases
WHERE $scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))
GROUP BY protocol_id
ORDER BY protocol_id
