-- A row for each phase of each protocol, in the order in which the phases of a protocol follow each other.
SELECT
    protocols.protocol_id,
    {declared} AS declared,
    phases.phase_type,
    phases.planned_days,
    CAST(phases.parameters AS VARCHAR) AS parameters
FROM research.protocols AS protocols
LEFT JOIN research.phases AS phases ON phases.protocol_id = protocols.protocol_id
WHERE protocols.protocol_id IS NOT NULL
ORDER BY protocols.protocol_id, phases.starts_at, phases.phase_id
