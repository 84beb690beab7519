-- Protocols of a file without analysis runs.
SELECT
    protocol_id,
    protocol_name,
    learner_id,
    design,
    primary_outcome,
    starts_at,
    ends_at,
    CAST(NULL AS VARCHAR) AS status,
    CAST(NULL AS VARCHAR) AS verdict,
    CAST(NULL AS VARCHAR) AS standing,
    CAST(NULL AS DOUBLE) AS effect,
    CAST(NULL AS DOUBLE) AS interval_low,
    CAST(NULL AS DOUBLE) AS interval_high,
    CAST(NULL AS DOUBLE) AS p,
    CAST(NULL AS VARCHAR) AS sentence,
    CAST(NULL AS TIMESTAMP) AS completed_at,
    CAST(NULL AS VARCHAR) AS analysis_run_id,
    CAST(NULL AS VARCHAR) AS record_sha256
FROM research.protocols
WHERE
    ($scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope)))
    AND ($protocol IS NULL OR protocol_id = $protocol)
ORDER BY starts_at, protocol_id
