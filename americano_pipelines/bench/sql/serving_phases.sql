SELECT
    'phase-' || phase || '-' || learner AS id,
    learner AS "protocolId",
    'phase ' || phase AS "phaseLabel",
    CASE WHEN phase % 2 = 0 THEN 'BASELINE' ELSE 'INTERVENTION_A' END AS "phaseType",
    TIMESTAMP '2025-01-01' + phase * INTERVAL 30 DAY AS "startDate",
    -- The last phase of the large protocol takes in all of its events.
    CASE WHEN phase = 3 AND learner = 'large' THEN TIMESTAMP '2035-01-01'
        ELSE TIMESTAMP '2025-01-31' + phase * INTERVAL 30 DAY END AS "endDate"
FROM (VALUES ('small'), ('large')) AS learners(learner), range(4) AS phases(phase)
