SELECT
    protocol_id,
    learner_id,
    protocol_name,
    design,
    primary_outcome,
    epoch_us(starts_at) AS starts_us,
    epoch_us(ends_at) AS ends_us,
    analysis_plan,
    CAST(deviations AS VARCHAR) AS deviations,
    CAST({improvement} AS VARCHAR) AS improvement,
    CAST({time_zone} AS VARCHAR) AS time_zone
FROM research.protocols
WHERE protocol_id = $1
