SELECT
    day,
    starts_at,
    phase,
    condition,
    value,
    events
FROM research.daily_outcomes
WHERE protocol_id = $1
ORDER BY day
LIMIT $2
