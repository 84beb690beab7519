-- A protocol is of one learner, so its counts are not counts over learners and none is withheld.
SELECT protocol_id, events
FROM research.events_by_protocol
WHERE $scope IS NULL
UNION ALL
SELECT
    protocol_id,
    count(*) AS events
FROM research.protocol_events
WHERE $scope IS NOT NULL AND learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))
GROUP BY protocol_id
ORDER BY protocol_id
