SELECT bool_or(upper(replace(replace(trim(design), ' ', '_'), '-', '_')) = 'MULTIPLE_BASELINE')
FROM research.protocols
WHERE protocol_id IN (SELECT unnest($1))
