SELECT
    CAST({id} AS VARCHAR) AS protocol_id,
    CAST({learner} AS VARCHAR) AS learner_id,
    CAST({name} AS VARCHAR) AS protocol_name,
    CAST({design} AS VARCHAR) AS design,
    CAST({outcome} AS VARCHAR) AS primary_outcome,
    CAST({start} AS TIMESTAMP) AS starts_at,
    CAST({end} AS TIMESTAMP) AS ends_at,
    CAST({plan} AS VARCHAR) AS analysis_plan,
    CAST({deviations} AS JSON) AS deviations,
    CAST({improvement} AS VARCHAR) AS improvement,
    CAST({time_zone} AS VARCHAR) AS time_zone
FROM analytics.experiment_protocols
