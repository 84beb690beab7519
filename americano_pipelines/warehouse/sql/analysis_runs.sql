-- A summary that others wrote in another form gives nulls.
WITH runs AS (
    SELECT
        CAST({id} AS VARCHAR) AS analysis_run_id,
        CAST({protocol} AS VARCHAR) AS protocol_id,
        CAST({name} AS VARCHAR) AS run_name,
        CAST({type} AS VARCHAR) AS analysis_type,
        CAST({parameters} AS JSON) AS parameters,
        CAST({status} AS VARCHAR) AS status,
        CAST({start} AS TIMESTAMP) AS started_at,
        CAST({end} AS TIMESTAMP) AS completed_at,
        CAST({mlflow_run} AS VARCHAR) AS mlflow_run_id,
        TRY_CAST({summary} AS JSON) AS summary
    FROM analytics.analysis_runs
)

SELECT
    analysis_run_id,
    protocol_id,
    run_name,
    analysis_type,
    parameters,
    status,
    started_at,
    completed_at,
    json_extract_string(summary, '$.verdict') AS verdict,
    CASE
        WHEN json_extract_string(summary, '$.standing.planned') = 'true' THEN 'planned'
        WHEN json_extract_string(summary, '$.standing.declared') = 'true' THEN 'declared'
        WHEN json_extract_string(summary, '$.standing.planned') = 'false' THEN 'exploratory'
    END AS standing,
    TRY_CAST(json_extract_string(summary, '$.numbers.observed') AS DOUBLE) AS effect,
    TRY_CAST(json_extract_string(summary, '$.numbers.interval_low') AS DOUBLE) AS interval_low,
    TRY_CAST(json_extract_string(summary, '$.numbers.interval_high') AS DOUBLE) AS interval_high,
    TRY_CAST(json_extract_string(summary, '$.numbers.p') AS DOUBLE) AS p,
    json_extract_string(summary, '$.sentence') AS sentence,
    mlflow_run_id,
    json_extract_string(summary, '$.provenance_sha256') AS record_sha256
FROM runs
