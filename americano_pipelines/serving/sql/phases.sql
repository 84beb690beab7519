SELECT
    phase_id,
    protocol_id,
    phase,
    phase_type,
    starts_at,
    ends_at,
    planned_days
FROM research.phases
WHERE
    protocol_id = $protocol
    AND ($scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope)))
ORDER BY starts_at, phase_id
