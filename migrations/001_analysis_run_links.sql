-- Columns by which the app finds an analysis in MLflow and its provenance record. Run it once or again:
--
--     psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f migrations/001_analysis_run_links.sql
--
-- The pipelines look which of these columns exist and write those; without them results are still linked by
-- "mlflowRunId" and "resultsSummary". The Prisma side is analysis_run.prisma beside this file.
DO $$
DECLARE
    found regclass := coalesce(to_regclass('analysis_runs'), to_regclass('"AnalysisRun"'));
BEGIN
    IF found IS NULL THEN
        RAISE EXCEPTION 'neither analysis_runs nor "AnalysisRun" is in the search path';
    END IF;
    EXECUTE format(
        'ALTER TABLE %s
            ADD COLUMN IF NOT EXISTS "mlflowRunId" text,
            ADD COLUMN IF NOT EXISTS "mlflowExperimentId" text,
            ADD COLUMN IF NOT EXISTS "mlflowRunUrl" text,
            ADD COLUMN IF NOT EXISTS "provenanceGitCommit" text,
            ADD COLUMN IF NOT EXISTS "dvcLockSha256" text',
        found
    );
    -- Unique, so that no two rows claim one run; an index, so that the run finds its row.
    EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS "analysis_runs_mlflowRunId_key" ON %s ("mlflowRunId")', found);
END
$$;
