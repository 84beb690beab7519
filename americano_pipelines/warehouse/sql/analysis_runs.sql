SELECT
    CAST({id} AS VARCHAR) AS analysis_run_id,
    CAST({protocol} AS VARCHAR) AS protocol_id,
    CAST({name} AS VARCHAR) AS run_name,
    CAST({type} AS VARCHAR) AS analysis_type,
    CAST({parameters} AS JSON) AS parameters,
    CAST({status} AS VARCHAR) AS status,
    CAST({start} AS TIMESTAMP) AS started_at,
    CAST({end} AS TIMESTAMP) AS completed_at
FROM analytics.analysis_runs
