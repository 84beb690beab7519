-- Slices of about as many events, in microseconds since 1970; an hour is not divided. No event of a protocol has an
-- infinite time.
WITH hours AS (
    SELECT
        time_bucket(INTERVAL 1 HOUR, event_time) AS starts_at,
        max(event_time) AS last_at,
        count(*) AS events
    FROM research.protocol_events
    WHERE
        protocol_id = $protocol
        AND ($scope IS NULL OR learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope)))
    GROUP BY 1
),

numbered AS (
    SELECT
        starts_at,
        last_at,
        (sum(events) OVER (ORDER BY starts_at) - events) // $slice_rows AS number
    FROM hours
)

SELECT
    epoch_us(min(starts_at)) AS slice_from,
    epoch_us(max(last_at)) + 1 AS slice_until
FROM numbered
GROUP BY number
ORDER BY number
