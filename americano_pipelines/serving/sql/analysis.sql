SELECT
    runs.analysis_run_id,
    runs.protocol_id,
    runs.run_name,
    runs.analysis_type,
    runs.parameters,
    runs.status,
    runs.started_at,
    runs.completed_at,
    CAST(NULL AS VARCHAR) AS error,
    runs.verdict,
    runs.standing,
    runs.effect,
    runs.interval_low,
    runs.interval_high,
    runs.p,
    runs.sentence,
    protocols.primary_outcome,
    protocols.analysis_plan,
    protocols.deviations,
    runs.mlflow_run_id,
    runs.record_sha256,
    CAST(NULL AS VARCHAR) AS dagster_run_id
FROM research.analysis_runs AS runs
LEFT JOIN research.protocols AS protocols ON protocols.protocol_id = runs.protocol_id
WHERE
    runs.analysis_run_id = $analysis
    AND ($scope IS NULL OR protocols.learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope)))
ORDER BY runs.started_at DESC NULLS LAST
LIMIT 1
