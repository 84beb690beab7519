-- Of each protocol the planned analysis, else the declared one, else the newest exploratory one.
WITH recorded AS (
    SELECT *
    FROM research.analysis_runs
    WHERE record_sha256 IS NOT NULL
    QUALIFY
        row_number() OVER (
            PARTITION BY protocol_id
            ORDER BY
                coalesce(list_position(['planned', 'declared'], standing), 3),
                verdict IS NULL,
                completed_at DESC NULLS LAST,
                analysis_run_id
        ) = 1
),

unrecorded AS (
    SELECT
        protocol_id,
        bool_or(upper(status) = 'RUNNING') AS is_running,
        bool_or(upper(status) = 'PENDING') AS is_requested,
        bool_or(upper(status) = 'FAILED') AS has_failed
    FROM research.analysis_runs
    WHERE record_sha256 IS NULL
    GROUP BY protocol_id
)

SELECT
    protocols.protocol_id,
    protocols.protocol_name,
    CASE
        WHEN recorded.record_sha256 IS NOT NULL THEN 'analysed'
        WHEN unrecorded.is_running THEN 'running'
        WHEN unrecorded.is_requested THEN 'requested'
        WHEN unrecorded.has_failed THEN 'failed'
        ELSE 'not analysed'
    END AS status,
    recorded.verdict,
    recorded.effect,
    recorded.interval_low,
    recorded.interval_high,
    recorded.p,
    recorded.standing,
    recorded.sentence,
    recorded.completed_at,
    recorded.analysis_run_id,
    recorded.mlflow_run_id,
    recorded.record_sha256
FROM research.protocols AS protocols
LEFT JOIN recorded ON recorded.protocol_id = protocols.protocol_id
LEFT JOIN unrecorded ON unrecorded.protocol_id = protocols.protocol_id
ORDER BY protocols.protocol_name, protocols.protocol_id
