SELECT
    epoch_us(min(starts_at)) AS first_us,
    epoch_us(max(ends_at)) AS last_us
FROM research.phases
WHERE protocol_id = $1
