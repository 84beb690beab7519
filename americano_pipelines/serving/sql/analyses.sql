-- Rows of the app as they were published, and recorded analyses: of those without a row, and of rows that the file does
-- not have, or has from before they were recorded. An analysis belongs to the learner of its protocol; one of all
-- learners is shown to those who see all.
WITH recorded AS (
    SELECT *
    FROM memory.main.recorded_rows($records)
    QUALIFY
        analysis_run_id IS NULL
        OR row_number() OVER (PARTITION BY analysis_run_id ORDER BY completed_at DESC, record_sha256) = 1
),

published AS ({published}),

analyses AS (
    SELECT *
    FROM published
    WHERE
        record_sha256 IS NOT NULL
        OR analysis_run_id IS NULL
        OR analysis_run_id NOT IN (SELECT analysis_run_id FROM recorded WHERE analysis_run_id IS NOT NULL)
    UNION ALL
    SELECT *
    FROM recorded
    WHERE
        (
            analysis_run_id IS NULL
            OR analysis_run_id NOT IN (
                SELECT analysis_run_id
                FROM published
                WHERE analysis_run_id IS NOT NULL AND record_sha256 IS NOT NULL
            )
        )
        AND NOT EXISTS (
            SELECT 1
            FROM published
            WHERE
                published.record_sha256 = recorded.record_sha256
                AND published.protocol_id IS NOT DISTINCT FROM recorded.protocol_id
        )
)

SELECT *
FROM analyses
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
ORDER BY started_at DESC NULLS LAST, analysis_run_id, record_sha256
