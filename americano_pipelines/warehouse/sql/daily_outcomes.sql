-- The days of each protocol as analyses count them (statistics/phase_windows.py, statistics/daily_values.py): days of
-- 24 hours from the start of the first phase. Protocols whose phases or outcome they refuse are left out.
WITH stated AS (
    SELECT
        phases.protocol_id,
        phases.learner_id,
        protocols.primary_outcome AS outcome,
        phases.phase,
        phases.planned_days,
        phases.starts_at,
        phases.ends_at,
        CASE
            WHEN phases.phase_type IN ('BASELINE', 'WITHDRAWAL') THEN 'baseline'
            WHEN phases.phase_type IN ('INTERVENTION_A', 'INTERVENTION_B') THEN 'treatment'
        END AS condition,
        lead(phases.starts_at) OVER by_start AS next_starts_at,
        min(phases.starts_at) OVER of_protocol AS origin,
        max(phases.ends_at) OVER of_protocol AS read_until
    FROM research.phases AS phases
    INNER JOIN research.protocols AS protocols ON protocols.protocol_id = phases.protocol_id
    WINDOW
        by_start AS (PARTITION BY phases.protocol_id ORDER BY phases.starts_at, phases.phase_id),
        of_protocol AS (PARTITION BY phases.protocol_id)
),

-- An end a second or less before the next phase or before a whole day is that: people write 23:59:59.999.
resolved AS (
    SELECT
        *,
        CASE
            WHEN ends_at < next_starts_at - INTERVAL 1 SECOND THEN ends_at
            WHEN next_starts_at IS NOT NULL THEN next_starts_at
            WHEN isfinite(ends_at) AND isfinite(origin) THEN
                CASE
                    WHEN (86400000000 - epoch_us(ends_at - origin) % 86400000000) % 86400000000 <= 1000000
                        THEN
                            ends_at
                            + to_microseconds((86400000000 - epoch_us(ends_at - origin) % 86400000000) % 86400000000)
                    ELSE ends_at
                END
        END AS window_ends_at
    FROM stated
),

windows AS (
    SELECT
        *,
        count(*) FILTER (
            WHERE
            learner_id IS NULL
            OR phase IS NULL
            OR condition IS NULL
            OR coalesce(planned_days NOT BETWEEN 1 AND 100000, FALSE)
            OR ends_at IS NULL
            OR (isfinite(starts_at) AND isfinite(window_ends_at) AND window_ends_at > starts_at) IS NOT TRUE
            OR NOT coalesce(list_contains({outcome_names}, outcome), FALSE)
        ) OVER (PARTITION BY protocol_id) = 0 AS is_usable
    FROM resolved
),

calendar AS (
    SELECT
        protocol_id,
        learner_id,
        outcome,
        origin,
        unnest(range(CAST(ceil(epoch_us(max(window_ends_at) - origin) / 86400e6) AS BIGINT))) AS day
    FROM windows
    WHERE is_usable
    GROUP BY protocol_id, learner_id, outcome, origin
),

events AS (
    SELECT
        CAST({time} AS TIMESTAMP) AS event_time,
        CAST({learner} AS VARCHAR) AS learner_id,
        CAST({protocol} AS VARCHAR) AS protocol_id,
        {outcome_columns}
    FROM analytics.behavioral_events
),

outcomes AS (
    SELECT
        windows.protocol_id,
        epoch_us(events.event_time - windows.origin) // 86400000000 AS day,
        {outcome_value} AS value
    FROM events
    INNER JOIN windows
        ON
            windows.learner_id = events.learner_id
            AND events.event_time >= windows.starts_at
            AND events.event_time < windows.window_ends_at
            AND events.event_time < windows.read_until
            AND (events.protocol_id IS NULL OR events.protocol_id = windows.protocol_id)
    WHERE windows.is_usable
),

daily AS (
    SELECT
        protocol_id,
        day,
        avg(value) AS value,
        count(*) AS events
    FROM outcomes
    WHERE isfinite(value)
    GROUP BY protocol_id, day
)

SELECT
    calendar.protocol_id,
    calendar.learner_id,
    calendar.outcome,
    calendar.day,
    calendar.origin + to_days(CAST(calendar.day AS INTEGER)) AS starts_at,
    windows.phase,
    windows.condition,
    CASE WHEN windows.phase IS NOT NULL THEN daily.value END AS value,
    coalesce(daily.events, 0) AS events
FROM calendar
LEFT JOIN windows
    ON
        windows.is_usable
        AND windows.protocol_id = calendar.protocol_id
        AND calendar.origin + to_days(CAST(calendar.day AS INTEGER)) >= windows.starts_at
        AND calendar.origin + to_days(CAST(calendar.day AS INTEGER) + 1) <= windows.window_ends_at
LEFT JOIN daily ON daily.protocol_id = calendar.protocol_id AND daily.day = calendar.day
ORDER BY calendar.protocol_id, calendar.day
