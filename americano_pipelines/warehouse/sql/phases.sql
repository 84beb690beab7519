-- A phase without an end of its own ends at the next one's start, else with its protocol, else as planned.
-- Never "now": the window of a phase must not depend on when it is looked at.
WITH phases AS (
    SELECT
        CAST({id} AS VARCHAR) AS phase_id,
        CAST({protocol} AS VARCHAR) AS protocol_id,
        CAST({label} AS VARCHAR) AS phase,
        CAST({type} AS VARCHAR) AS phase_type,
        CAST({start} AS TIMESTAMP) AS starts_at,
        CAST({end} AS TIMESTAMP) AS stated_end,
        CAST({planned_days} AS INTEGER) AS planned_days,
        CAST({parameters} AS JSON) AS parameters,
        CAST({seed} AS BIGINT) AS randomization_seed
    FROM analytics.phase_assignments
)

SELECT
    phases.phase_id,
    phases.protocol_id,
    protocols.learner_id,
    phases.phase,
    phases.phase_type,
    phases.starts_at,
    coalesce(
        phases.stated_end,
        lead(phases.starts_at) OVER (PARTITION BY phases.protocol_id ORDER BY phases.starts_at, phases.phase_id),
        protocols.ends_at,
        phases.starts_at + to_days(phases.planned_days)
    ) AS ends_at,
    phases.planned_days,
    phases.stated_end,
    phases.parameters,
    phases.randomization_seed
FROM phases
LEFT JOIN research.protocols AS protocols ON protocols.protocol_id = phases.protocol_id
