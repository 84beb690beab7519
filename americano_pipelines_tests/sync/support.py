"""A sync without Dagster, the rows of both sides in one form, and what must hold after every sync."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.lake import manifest as lake
from americano_pipelines.lake.export import export
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.refresh import RefreshResult, refresh
from americano_pipelines_tests.conftest import Database

READ = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2]).fetchone())"
TABLES = ("behavioral_events", "experiment_protocols", "phase_assignments", "analysis_runs")


def sync(settings: Settings, *, full: bool = False) -> RefreshResult:
    """What the nightly job does, in this process."""
    stages = StageTimer()
    if settings.mode is Mode.POSTGRES:
        export(settings, stages, full=full)
    return refresh(settings, stages, full=full)


def source_rows(database: Database, table: str) -> list[tuple[Any, ...]]:
    """Every row of a source table, every value as Postgres's text."""
    columns = [row[0] for row in database.execute(COLUMNS, (table,))]
    values = ", ".join(_postgres_text(name, kind) for name, kind in database.execute(KINDS, (table,)))
    rows = database.execute(f"SELECT {values} FROM {table}")
    return [tuple(columns), *sorted(rows, key=repr)]


def published_rows(settings: Settings, table: str) -> list[tuple[Any, ...]]:
    """Every row of a published table in the same form."""
    with duckdb.connect(str(settings.paths.published), read_only=True) as connection:
        return _duckdb_rows(connection, f"analytics.{table}", [])


def lake_rows(settings: Settings, table: str) -> list[tuple[Any, ...]]:
    """Every row of a table in the lake, by its manifest alone, in the same form."""
    manifest = lake.read(settings.paths)
    assert manifest is not None
    files = [
        str(path) for bucket in manifest.tables[table].buckets.values() for path in lake.files(settings.paths, bucket)
    ]
    columns = tuple(column.name for column in manifest.tables[table].columns)
    if not files:
        return [columns]
    with duckdb.connect() as connection:
        return _duckdb_rows(connection, "read_parquet($1, hive_partitioning = false)", [files])


def _duckdb_rows(connection: duckdb.DuckDBPyConnection, relation: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    connection.execute("SET TimeZone = 'UTC'")
    described = connection.execute(f"DESCRIBE FROM {relation}", parameters).fetchall()
    values = ", ".join(_duckdb_text(str(row[0]), str(row[1])) for row in described)
    rows = connection.execute(f"SELECT {values} FROM {relation}", parameters).fetchall()
    return [tuple(str(row[0]) for row in described), *sorted(rows, key=repr)]


def computed(settings: Settings) -> dict[str, Any]:
    """Everything that a build computes from the mirrors: models with their rows in their order, and checks."""
    document = snapshots.read_record(settings.paths)
    assert document is not None
    with duckdb.connect(str(settings.paths.published), read_only=True) as connection:
        relations = "SELECT {0}_name, sql, comment FROM duckdb_{0}s() WHERE schema_name = 'research' ORDER BY 1"
        return {
            "models": document.models,
            "checks": sorted(document.checks, key=lambda check: (check.table, check.name)),
            "figures": {name: (table.rows, table.figures, table.lineage) for name, table in document.tables.items()},
            "views": connection.execute(relations.format("view")).fetchall(),
            "tables": connection.execute(relations.format("table")).fetchall(),
            "rows": {
                name: connection.execute(f"FROM research.{name}").fetchall()
                for name, model in document.models.items()
                if model.rows is not None
            },
        }


def whole(settings: Settings) -> None:
    """What the link means is a published file, unchanged since, readable by another process."""
    path, document = snapshots.current(settings.paths), snapshots.read_record(settings.paths)
    assert path is not None
    assert document is not None
    assert file_sha256(path) == document.sha256
    query = "SELECT count(*) FROM analytics.behavioral_events"
    read = subprocess.run(
        [sys.executable, "-c", READ, str(settings.paths.published), query], capture_output=True, text=True, check=True
    )
    assert read.stdout.strip() == f"({document.tables['behavioral_events'].rows},)"


def tidy(settings: Settings) -> None:
    """After a sync nothing lies about that nobody names."""
    folders = [path for path in settings.paths.snapshots.iterdir() if not path.name.startswith(".")]
    assert len(folders) <= settings.americano_snapshots_kept
    assert not list(settings.paths.snapshots.glob(".*"))
    assert not [path for path in settings.paths.published.parent.glob(".*") if path.is_symlink()]
    if settings.mode is Mode.POSTGRES:
        assert {path.name for path in settings.paths.lake.iterdir() if path.name.startswith(".")} == set()
        assert {str(path) for path in settings.paths.lake.rglob("*.parquet")} == named_files(settings)
    assert _spilled(settings.paths.spill) == 0


def named_files(settings: Settings) -> set[str]:
    """The files that make up the lake, by its manifest."""
    manifest = lake.read(settings.paths)
    assert manifest is not None
    buckets = [bucket for table in manifest.tables.values() for bucket in table.buckets.values()]
    return {str(path) for bucket in buckets for path in lake.files(settings.paths, bucket)}


def _spilled(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)
KINDS = (
    "SELECT attname, atttypid::regtype::text FROM pg_attribute "
    "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)


def _postgres_text(name: str, kind: str) -> str:
    column = f'"{name}"'
    if kind.startswith("timestamp"):
        micros = f"(extract(EPOCH FROM {column}) * 1000000)::bigint::text"
        return f"CASE WHEN isfinite({column}) THEN {micros} ELSE {column}::text END"
    return f"array_to_json({column})::text" if kind.endswith("[]") else f"{column}::text"


def _duckdb_text(name: str, kind: str) -> str:
    column = f'"{name}"'
    text = f"CAST({column} AS VARCHAR)"
    if kind.startswith("TIMESTAMP"):
        return f"CASE WHEN isfinite({column}) THEN CAST(epoch_us({column}) AS VARCHAR) ELSE {text} END"
    return f"CAST(to_json({column}) AS VARCHAR)" if kind.endswith("[]") else text
