SELECT
    protocol_id,
    min(starts_at) AS starts_at,
    max(ends_at) AS ends_at
FROM research.phases
GROUP BY protocol_id
