-- Runs in sqlite. One row per record file; `readable` is 0 for a file that is no intact record.
CREATE TABLE IF NOT EXISTS entries (
    sha256 TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL,
    readable INTEGER NOT NULL,
    analysis TEXT,
    protocol_id TEXT,
    mlflow_run_id TEXT,
    mlflow_url TEXT,
    analysis_run_id TEXT,
    dagster_run_id TEXT,
    started_at TEXT,
    ended_at TEXT,
    verdict TEXT,
    standing TEXT,
    sentence TEXT,
    effect REAL,
    interval_low REAL,
    interval_high REAL,
    p REAL,
    snapshot_id TEXT,
    chain_number INTEGER,
    chain_previous TEXT,
    chain_listing TEXT,
    group_key TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_protocol ON entries (protocol_id, analysis);
CREATE INDEX IF NOT EXISTS entries_by_group ON entries (group_key, analysis);
CREATE INDEX IF NOT EXISTS entries_by_mlflow_run ON entries (mlflow_run_id);
CREATE INDEX IF NOT EXISTS entries_by_analysis_run ON entries (analysis_run_id);
CREATE INDEX IF NOT EXISTS entries_by_dagster_run ON entries (dagster_run_id);
CREATE INDEX IF NOT EXISTS entries_by_start ON entries (started_at);
CREATE INDEX IF NOT EXISTS entries_by_snapshot ON entries (snapshot_id);
CREATE INDEX IF NOT EXISTS entries_by_chain ON entries (chain_number);
