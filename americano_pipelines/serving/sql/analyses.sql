-- An analysis belongs to the learner of its protocol; one of all learners is shown to those who see all.
SELECT
    analysis_run_id,
    protocol_id,
    run_name,
    analysis_type,
    status,
    started_at,
    completed_at,
    verdict,
    standing,
    effect,
    interval_low,
    interval_high,
    p,
    sentence,
    mlflow_run_id,
    record_sha256
FROM research.analysis_runs
WHERE
    (
        $scope IS NULL
        OR protocol_id IN (
            SELECT protocol_id
            FROM research.protocols
            WHERE learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))
        )
    )
    AND ($protocol IS NULL OR protocol_id = $protocol)
    AND ($kind IS NULL OR analysis_type = $kind)
    AND ($standing IS NULL OR standing = $standing)
    AND ($verdict IS NULL OR verdict = $verdict)
    AND ($status IS NULL OR upper(status) = upper($status))
ORDER BY started_at DESC NULLS LAST, analysis_run_id
