-- Two learners: one with nearly all events, for the export, and one with 120 days of them, for small answers.
SELECT
    'event-' || i AS id,
    CASE WHEN i < 2400 THEN 'small' ELSE 'large' END AS "userId",
    CASE WHEN i < 2400 THEN TIMESTAMP '2025-01-01' + i * INTERVAL 72 MINUTE
        ELSE TIMESTAMP '2025-01-01' + i * INTERVAL 10 SECOND END AS "timestamp",
    'kind ' || (i % 9) AS "eventType",
    (i % 101)::DOUBLE AS "sessionPerformanceScore"
FROM range({rows} + 2400) AS numbers(i)
