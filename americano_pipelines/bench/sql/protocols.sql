-- Every fortieth learner has an experiment: two phases of four weeks.
CREATE TABLE experiment_protocols (id text PRIMARY KEY, "userId" text NOT NULL, "startDate" timestamp(3), "endDate" timestamp(3));
CREATE TABLE phase_assignments (
    id text PRIMARY KEY, "protocolId" text NOT NULL, "phaseLabel" text NOT NULL, "startDate" timestamp(3), "endDate" timestamp(3)
);

INSERT INTO experiment_protocols
SELECT 'p' || row_number() OVER (ORDER BY "userId"), "userId", '2024-06-01', '2024-07-27'
FROM (SELECT DISTINCT "userId" FROM behavioral_events) AS learners
WHERE get_byte(sha256("userId"::bytea), 0) < 6;

INSERT INTO phase_assignments
SELECT p.id || '-' || phase, p.id, phase, begins, begins + interval '28 days'
FROM experiment_protocols AS p
CROSS JOIN (VALUES ('baseline_1', timestamp '2024-06-01'), ('treatment_1', timestamp '2024-06-29')) AS phases (phase, begins);

CREATE INDEX ON experiment_protocols ("userId");
CREATE INDEX ON phase_assignments ("protocolId");
ANALYZE;
