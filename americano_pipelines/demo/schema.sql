-- The application's four tables as Prisma makes them, its row-level security, and two roles.
-- Run once per database, inside one transaction, as superuser; `seed` looks first whether the tables are there, and
-- makes the indexes (`indexes.sql`) when the rows are in.

-- Roles belong to the whole server, not to this database: another one may have made them already.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'americano_app') THEN
        CREATE ROLE americano_app NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'americano_sync') THEN
        -- BYPASSRLS, because a role under row-level security reads no rows here and gets no error either.
        CREATE ROLE americano_sync LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT BYPASSRLS;
        ALTER ROLE americano_sync SET default_transaction_read_only = on;
    END IF;
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO americano_sync', current_database());
END
$$;

GRANT USAGE, CREATE ON SCHEMA public TO americano_app;
GRANT USAGE ON SCHEMA public TO americano_sync;

SET LOCAL ROLE americano_app;

CREATE TYPE "EventType" AS ENUM (
    'MISSION_STARTED', 'MISSION_COMPLETED', 'CARD_REVIEWED', 'VALIDATION_COMPLETED', 'SESSION_STARTED',
    'SESSION_ENDED', 'LECTURE_UPLOADED', 'SEARCH_PERFORMED', 'GRAPH_VIEWED', 'RECOMMENDATION_VIEWED',
    'RECOMMENDATION_CLICKED', 'RECOMMENDATION_DISMISSED', 'RECOMMENDATION_RATED'
);
CREATE TYPE "CompletionQuality" AS ENUM ('RUSHED', 'NORMAL', 'THOROUGH');
CREATE TYPE "EngagementLevel" AS ENUM ('LOW', 'MEDIUM', 'HIGH');
CREATE TYPE "ExperimentDesignType" AS ENUM ('ABAB', 'MULTIPLE_BASELINE', 'ALTERNATING', 'CHANGING_CRITERION');
CREATE TYPE "PhaseType" AS ENUM ('BASELINE', 'INTERVENTION_A', 'INTERVENTION_B', 'WITHDRAWAL');
CREATE TYPE "AnalysisType" AS ENUM (
    'BAYESIAN_ITS', 'BAYESIAN_STRUCTURAL_TS', 'SYNTHETIC_CONTROL', 'ABAB_RANDOMIZATION', 'CHANGE_POINT_DETECTION',
    'SEQUENTIAL_ANALYSIS', 'GRANGER_CAUSALITY', 'MIXED_EFFECTS'
);
CREATE TYPE "AnalysisStatus" AS ENUM ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED');

CREATE TABLE behavioral_events (
    id text NOT NULL,
    "userId" text NOT NULL,
    "eventType" "EventType" NOT NULL,
    "eventData" jsonb NOT NULL,
    "timestamp" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "completionQuality" "CompletionQuality",
    "contentType" text,
    "dayOfWeek" integer,
    "difficultyLevel" text,
    "engagementLevel" "EngagementLevel",
    "sessionPerformanceScore" integer,
    "timeOfDay" integer,
    "experimentPhase" text,
    "randomizationSeed" integer,
    "contextMetadataId" text,
    CONSTRAINT behavioral_events_pkey PRIMARY KEY (id)
);

CREATE TABLE experiment_protocols (
    id text NOT NULL,
    "userId" text NOT NULL,
    "protocolName" text NOT NULL,
    hypothesis text NOT NULL,
    "startDate" timestamp(3) NOT NULL,
    "endDate" timestamp(3),
    "designType" "ExperimentDesignType" NOT NULL,
    "primaryOutcome" text NOT NULL,
    "sampleSizeTarget" integer NOT NULL,
    "analysisPlan" text NOT NULL,
    deviations jsonb NOT NULL DEFAULT '[]',
    screened integer,
    eligible integer,
    enrolled integer,
    completed integer,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" timestamp(3) NOT NULL,
    CONSTRAINT experiment_protocols_pkey PRIMARY KEY (id)
);

CREATE TABLE phase_assignments (
    id text NOT NULL,
    "protocolId" text NOT NULL,
    "phaseLabel" text NOT NULL,
    "phaseType" "PhaseType" NOT NULL,
    "startDate" timestamp(3) NOT NULL,
    "endDate" timestamp(3),
    "plannedDuration" integer NOT NULL,
    "randomizationSeed" integer NOT NULL,
    "interventionParams" jsonb NOT NULL,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" timestamp(3) NOT NULL,
    CONSTRAINT phase_assignments_pkey PRIMARY KEY (id),
    CONSTRAINT "phase_assignments_protocolId_fkey" FOREIGN KEY ("protocolId")
        REFERENCES experiment_protocols (id) ON DELETE CASCADE ON UPDATE CASCADE
);

-- Without the columns of the linking migration: whether an installation has it must be looked up, never assumed.
CREATE TABLE analysis_runs (
    id text NOT NULL,
    "protocolId" text NOT NULL,
    "runName" text NOT NULL,
    "analysisType" "AnalysisType" NOT NULL,
    "codeCommitHash" text NOT NULL,
    "dataVersionHash" text NOT NULL,
    "inputParams" jsonb NOT NULL,
    "mlflowRunId" text,
    "artifactPaths" text[],
    "resultsSummary" jsonb NOT NULL,
    "startedAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "completedAt" timestamp(3),
    "durationSeconds" integer,
    status "AnalysisStatus" NOT NULL DEFAULT 'RUNNING',
    "errorMessage" text,
    CONSTRAINT analysis_runs_pkey PRIMARY KEY (id),
    CONSTRAINT "analysis_runs_protocolId_fkey" FOREIGN KEY ("protocolId")
        REFERENCES experiment_protocols (id) ON DELETE CASCADE ON UPDATE CASCADE
);

ALTER TABLE experiment_protocols ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_protocols ON experiment_protocols
    USING ("userId" = current_setting('app.current_user_id', true));

ALTER TABLE phase_assignments ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_phases ON phase_assignments
    USING (EXISTS (
        SELECT FROM experiment_protocols AS protocol
        WHERE protocol.id = phase_assignments."protocolId"
            AND protocol."userId" = current_setting('app.current_user_id', true)
    ));

ALTER TABLE analysis_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_analysis_runs ON analysis_runs
    USING (EXISTS (
        SELECT FROM experiment_protocols AS protocol
        WHERE protocol.id = analysis_runs."protocolId"
            AND protocol."userId" = current_setting('app.current_user_id', true)
    ));

GRANT SELECT ON behavioral_events, experiment_protocols, phase_assignments, analysis_runs TO americano_sync;

RESET ROLE;
