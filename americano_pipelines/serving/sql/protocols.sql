SELECT
    protocols.protocol_id,
    protocols.protocol_name,
    protocols.learner_id,
    protocols.design,
    protocols.primary_outcome,
    protocols.starts_at,
    protocols.ends_at,
    verdicts.status,
    verdicts.verdict,
    verdicts.standing,
    verdicts.effect,
    verdicts.interval_low,
    verdicts.interval_high,
    verdicts.p,
    verdicts.sentence,
    verdicts.completed_at,
    verdicts.analysis_run_id,
    verdicts.record_sha256
FROM research.protocols AS protocols
LEFT JOIN research.verdicts AS verdicts ON verdicts.protocol_id = protocols.protocol_id
WHERE
    (
        $scope IS NULL
        OR protocols.learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))
    )
    AND ($protocol IS NULL OR protocols.protocol_id = $protocol)
ORDER BY protocols.starts_at, protocols.protocol_id
