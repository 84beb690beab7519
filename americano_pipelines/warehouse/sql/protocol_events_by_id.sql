-- The events say themselves which protocol they belong to.
SELECT
    protocol_id,
    CAST(NULL AS VARCHAR) AS phase_id,
    phase,
    CAST(NULL AS VARCHAR) AS phase_type,
    event_id,
    event_time,
    learner_id,
    event_type
FROM research.events
WHERE protocol_id IS NOT NULL
