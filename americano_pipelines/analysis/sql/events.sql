-- Everything the learner did from the first phase's start to the last one's end: windows are cut by the analysis, which
-- counts what falls between them.
SELECT
    epoch_us(CAST({time} AS TIMESTAMP)) AS time_us,
    CAST({outcome} AS DOUBLE) AS outcome,
    CAST({phase} AS VARCHAR) AS phase
FROM analytics.behavioral_events
WHERE
    {of_learner}
    AND CAST({time} AS TIMESTAMP) >= make_timestamp($2)
    AND CAST({time} AS TIMESTAMP) < make_timestamp($3)
    AND ({protocol} IS NULL OR CAST({protocol} AS VARCHAR) = $4)
ORDER BY 1, {id}, 2, 3
