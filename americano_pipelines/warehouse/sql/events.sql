SELECT
    CAST({id} AS VARCHAR) AS event_id,
    CAST({time} AS TIMESTAMP) AS event_time,
    CAST({learner} AS VARCHAR) AS learner_id,
    CAST({phase} AS VARCHAR) AS phase,
    CAST({protocol} AS VARCHAR) AS protocol_id,
    CAST({type} AS VARCHAR) AS event_type,
    TRY_CAST({score} AS DOUBLE) AS score,
    CAST({engagement} AS VARCHAR) AS engagement,
    CAST({quality} AS VARCHAR) AS completion_quality
FROM analytics.behavioral_events
