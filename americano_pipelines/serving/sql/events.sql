SELECT
    members.event_id,
    members.event_time,
    members.learner_id,
    members.phase,
    members.phase_type,
    members.event_type,
    events.score,
    events.engagement,
    events.completion_quality
FROM research.protocol_events AS members
LEFT JOIN research.events AS events
    ON
        events.event_id = members.event_id
        AND events.learner_id = members.learner_id
        AND events.event_time = members.event_time{slice_of_events}
WHERE
    members.protocol_id = $protocol
    AND ($scope IS NULL OR members.learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))){slice}
ORDER BY members.event_time, members.event_id
