SELECT
    protocol_id,
    protocol_name,
    design,
    primary_outcome,
    starts_at,
    ends_at
FROM research.protocols
WHERE protocol_id IS NOT NULL
ORDER BY starts_at, protocol_id
