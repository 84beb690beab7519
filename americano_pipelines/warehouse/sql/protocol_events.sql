-- An event belongs to a protocol when the learner matches and its time falls into one of the phases.
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
