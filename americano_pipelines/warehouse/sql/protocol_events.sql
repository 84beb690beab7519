-- An event belongs to a protocol when the learner matches and its time falls into one of the phases. Where phases
-- of one protocol overlap it belongs to the one that started last: it happened once.
WITH superseded AS (
    SELECT
        earlier.protocol_id,
        earlier.phase_id,
        later.starts_at,
        later.ends_at
    FROM research.phases AS earlier
    INNER JOIN research.phases AS later
        ON
            later.protocol_id = earlier.protocol_id
            AND later.starts_at < earlier.ends_at
            AND (
                later.starts_at > earlier.starts_at
                OR (later.starts_at = earlier.starts_at AND later.phase_id > earlier.phase_id)
            )
)

SELECT
    phases.protocol_id,
    phases.phase_id,
    phases.phase,
    phases.phase_type,
    events.event_id,
    events.event_time,
    events.learner_id,
    events.event_type
FROM research.events AS events
INNER JOIN research.phases AS phases
    ON
        phases.learner_id = events.learner_id
        AND events.event_time >= phases.starts_at
        AND events.event_time < phases.ends_at
LEFT JOIN superseded
    ON
        superseded.protocol_id = phases.protocol_id
        AND superseded.phase_id = phases.phase_id
        AND events.event_time >= superseded.starts_at
        AND events.event_time < superseded.ends_at
WHERE superseded.protocol_id IS NULL
