-- Recorded analyses as rows of research.analysis_runs, from the JSON that statements bind.
CREATE MACRO memory.main.recorded_rows(records) AS TABLE
SELECT
    item.analysis_run_id,
    item.protocol_id,
    item.run_name,
    item.analysis_type,
    'COMPLETED' AS status,
    CAST(CAST(item.started_at AS TIMESTAMPTZ) AS TIMESTAMP) AS started_at,
    CAST(CAST(item.completed_at AS TIMESTAMPTZ) AS TIMESTAMP) AS completed_at,
    item.verdict,
    item.standing,
    item.effect,
    item.interval_low,
    item.interval_high,
    item.p,
    item.sentence,
    item.mlflow_run_id,
    item.record_sha256
FROM (
    SELECT unnest(from_json(
        CAST(records AS JSON),
        '[{"analysis_run_id": "VARCHAR", "protocol_id": "VARCHAR", "run_name": "VARCHAR", "analysis_type": "VARCHAR",
        "started_at": "VARCHAR", "completed_at": "VARCHAR", "verdict": "VARCHAR", "standing": "VARCHAR",
        "effect": "DOUBLE", "interval_low": "DOUBLE", "interval_high": "DOUBLE", "p": "DOUBLE",
        "sentence": "VARCHAR", "mlflow_run_id": "VARCHAR", "record_sha256": "VARCHAR"}]'
    )) AS item
)
