SELECT
    learner AS id,
    learner AS "userId",
    TIMESTAMP '2025-01-01' AS "startDate",
    TIMESTAMP '2025-05-01' AS "endDate",
    'ABAB' AS "designType",
    'sessionPerformanceScore' AS "primaryOutcome"
FROM (VALUES ('small'), ('large')) AS learners(learner)
