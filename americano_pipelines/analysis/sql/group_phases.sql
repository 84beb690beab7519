SELECT
    protocol_id,
    CAST(parameters AS VARCHAR) AS parameters
FROM research.phases
WHERE protocol_id IS NOT NULL AND CAST(parameters AS VARCHAR) LIKE '%group%'
ORDER BY protocol_id
