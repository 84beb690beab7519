-- Scored events with what was known before each of them. All windows end a microsecond before the event, so nothing of
-- the same instant is in them. Means are rounded, for how they are summed up differs between runs in the last digits.
WITH events AS (
    SELECT
        CAST({id} AS VARCHAR) AS event_id,
        CAST({time} AS TIMESTAMP) AS event_time,
        CAST({learner} AS VARCHAR) AS learner,
        CAST({phase} AS VARCHAR) AS phase,
        CAST({outcome} AS DOUBLE) AS score
    FROM analytics.behavioral_events
    WHERE isfinite(CAST({time} AS TIMESTAMP))
),

firsts AS (
    SELECT
        learner,
        min(event_time) AS first_time
    FROM events
    GROUP BY learner
),

scored AS (
    SELECT
        *,
        max(event_time) OVER past AS last_time,
        round(avg(score) OVER past, 9) AS mean_score_so_far,
        round(avg(score) OVER week, 9) AS mean_score_last_7_days
    FROM events
    WHERE isfinite(score)
    WINDOW
        past AS (
            PARTITION BY learner ORDER BY event_time
            RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
        ),
        week AS (
            PARTITION BY learner ORDER BY event_time
            RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
        )
),

latest AS (
    SELECT
        scored.*,
        firsts.first_time,
        count(*) OVER () AS available
    FROM scored
    LEFT JOIN firsts ON firsts.learner = scored.learner
    ORDER BY scored.event_time DESC, scored.event_id DESC, scored.score DESC
    LIMIT $1
)

SELECT
    available,
    epoch_us(event_time) AS time_us,
    score,
    learner,
    hour(event_time) AS hour_of_day,
    CAST(isodow(event_time) > 5 AS INTEGER) AS is_weekend,
    (epoch_us(event_time) - epoch_us(first_time)) / 86400e6 AS days_since_first_event,
    ln(1 + (epoch_us(event_time) - epoch_us(last_time)) / 3600e6) AS log_hours_since_last_score,
    mean_score_so_far,
    mean_score_last_7_days,
    CAST(coalesce(phase ILIKE 'intervention%', FALSE) AS INTEGER) AS in_intervention
FROM latest
ORDER BY event_time, event_id, score
