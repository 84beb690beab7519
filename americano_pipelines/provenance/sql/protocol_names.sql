SELECT protocol_id, protocol_name
FROM research.protocols
WHERE protocol_name IS NOT NULL
