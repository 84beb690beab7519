-- 4,000 events of 8 learners over five months of 2025, in no time order; 2 ABAB protocols; 2 analysis runs.
INSERT INTO behavioral_events (
    id, "userId", "eventType", "eventData", "timestamp", "sessionPerformanceScore", "timeOfDay", "experimentPhase"
)
SELECT
    'c' || substr(md5('event' || i), 1, 24),
    'learner_' || i % 8,
    (enum_range(NULL::"EventType"))[1 + i % 13],
    jsonb_build_object('n', i, 'note', 'Größe 数 "quoted" ' || i, 'nothing', NULL),
    timestamp '2025-01-01' + (i * 7919 % 4000) * interval '53 minutes' + (i % 7) * interval '1 millisecond',
    CASE WHEN i % 3 = 0 THEN i % 101 END,
    i % 24,
    CASE WHEN i % 8 < 2 AND i % 5 = 0 THEN 'baseline_1' END
FROM generate_series(1, 4000) AS i;

INSERT INTO experiment_protocols (
    id, "userId", "protocolName", hypothesis, "startDate", "endDate", "designType", "primaryOutcome",
    "sampleSizeTarget", "analysisPlan", deviations, "createdAt", "updatedAt"
)
SELECT
    'protocol_' || p, 'learner_' || p, 'Protocol ' || p, 'it helps', '2025-01-10', '2025-03-10', 'ABAB',
    'sessionPerformanceScore', 1, 'randomization test', '[]', '2025-01-01', '2025-01-01'
FROM generate_series(0, 1) AS p;

INSERT INTO phase_assignments (
    id, "protocolId", "phaseLabel", "phaseType", "startDate", "endDate", "plannedDuration", "randomizationSeed",
    "interventionParams", "createdAt", "updatedAt"
)
SELECT
    'phase_' || p || '_' || n,
    'protocol_' || p,
    (ARRAY['baseline_1', 'intervention_A_1', 'baseline_2', 'intervention_A_2'])[n],
    (CASE WHEN n % 2 = 1 THEN 'BASELINE' ELSE 'INTERVENTION_A' END)::"PhaseType",
    timestamp '2025-01-10' + (n - 1) * interval '14 days',
    CASE WHEN n < 4 THEN timestamp '2025-01-10' + n * interval '14 days' END,
    14, 7, '{"randomization": {"minDays": 7, "maxDays": 21}}', '2025-01-01', '2025-01-01'
FROM generate_series(0, 1) AS p, generate_series(1, 4) AS n;

INSERT INTO analysis_runs (
    id, "protocolId", "runName", "analysisType", "codeCommitHash", "dataVersionHash", "inputParams",
    "artifactPaths", "resultsSummary", "startedAt", status
)
SELECT
    'run_' || p, 'protocol_' || p, 'Run ' || p, 'ABAB_RANDOMIZATION', 'unknown', 'unknown', '{}',
    ARRAY['a', NULL, 'b "c"'], '{}', '2025-04-01', 'PENDING'
FROM generate_series(0, 1) AS p;
