SELECT
    phase_id,
    phase,
    phase_type,
    epoch_us(starts_at) AS starts_us,
    epoch_us(stated_end) AS stated_end_us,
    planned_days,
    CAST(parameters AS VARCHAR) AS parameters,
    randomization_seed
FROM research.phases
WHERE protocol_id = $1
ORDER BY starts_at, phase_id
