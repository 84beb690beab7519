"""Exporting the source into the lake: one snapshot of all tables, written aside, named by the manifest last.

Here belongs deciding what has to be exported and writing it. What a file holds is recorded in `manifest.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from americano_pipelines import durable, sql
from americano_pipelines.engine import connect
from americano_pipelines.errors import ConfigError, DataError
from americano_pipelines.lake import manifest as lake
from americano_pipelines.lake.manifest import Bucket, LakeFile, LakeTable, Manifest
from americano_pipelines.settings import Settings
from americano_pipelines.sources.catalog import PostgresTable, find_tables
from americano_pipelines.sources.figures import State, bucket_expression, postgres_figures, source_state
from americano_pipelines.sources.figures import rest_label as rest
from americano_pipelines.sources.postgres import Snapshot, open_snapshot, translated
from americano_pipelines.stages import Stages

_STAGING = ".staging"
_BUCKET_COLUMN = "americano_bucket"


@dataclass(frozen=True)
class Export:
    """What an export did.

    Attributes:
        manifest: what the lake holds now.
        written: tables that were exported; the others already held the source's state.
        checked_at: the instant of the source that was compared, ISO 8601.
    """

    manifest: Manifest
    written: frozenset[str]
    checked_at: str


def export(settings: Settings, stages: Stages, *, full: bool = False) -> Export:
    """Bring the lake to the state of the source at one instant. The caller holds the writer lock.

    Args:
        settings: the source and the lake's folder.
        stages: told what is being done.
        full: export every table, whatever the lake holds.

    Raises:
        SourceError: the source cannot be read in full; the lake is as it was.
        DataError: a file does not hold the rows that Postgres counted in the same snapshot.
    """
    target = settings.postgres
    if target is None:
        raise ConfigError("PG_HOST: no Postgres is configured to export from; set DATABASE_URL or PG_HOST")
    before = None if full else lake.read(settings)
    snapshot_id = durable.new_id()
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    staging = settings.lake_dir / _STAGING
    durable.remove(staging)
    tables: dict[str, LakeTable] = {}
    written = set()
    with connect(settings) as connection, open_snapshot(connection, target) as snapshot:
        # Which row comes first in a file does not matter, and keeping the heap's order costs memory.
        connection.execute("SET preserve_insertion_order = false")
        found, skipped = find_tables(snapshot, settings)
        if before is not None and not lake.same_history(before.source, snapshot.identity):
            before = None
        for name, table in found.items():
            with stages.stage(f"compare {name}"):
                state = source_state(snapshot, table)
            kept = before.tables.get(name) if before else None
            if kept is not None and _holds(settings, kept, table, state):
                tables[name] = kept
                continue
            with stages.stage(f"export {name}"):
                tables[name] = _write_table(settings, snapshot, table, state, snapshot_id)
            written.add(name)
        taken_at, identity = snapshot.taken_at, snapshot.identity
    durable.remove(staging)
    if before is not None and not written and before.skipped == skipped and set(before.tables) == set(tables):
        lake.sweep(settings, before)
        return Export(before, frozenset(), taken_at)
    manifest = Manifest(snapshot_id=snapshot_id, taken_at=taken_at, source=identity, tables=tables, skipped=skipped)
    lake.replace(settings, manifest)
    lake.sweep(settings, manifest)
    return Export(manifest, frozenset(written), taken_at)


def _holds(settings: Settings, kept: LakeTable, table: PostgresTable, state: Mapping[str, State]) -> bool:
    """Whether the lake really has this state: same schema, same fingerprints, every file there in full size."""
    same = kept.schema_sha256 == table.schema_sha256 and kept.found_as == table.found_as
    files = [file for bucket in kept.buckets.values() for file in bucket.files]
    return same and kept.state == dict(state) and all(_size(settings.lake_dir / f.path) == f.bytes for f in files)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _write_table(
    settings: Settings,
    snapshot: Snapshot,
    table: PostgresTable,
    state: Mapping[str, State],
    snapshot_id: str,
) -> LakeTable:
    figures = postgres_figures(snapshot, table)
    folder = settings.lake_dir / _STAGING / table.name
    folder.mkdir(parents=True)
    statement = sql.render(
        sql.load("lake", "export"),
        projection=table.projection,
        bucket=f"coalesce(strftime({bucket_expression(table)}, '%Y-%m'), {rest(table)})",
        bucket_column=sql.quote(_BUCKET_COLUMN),
        relation=snapshot.relation(table.schema, table.relation),
        folder=sql.escape(str(folder)),
    )
    with translated(snapshot.target, table.found_as):
        snapshot.connection.execute(statement)
    buckets = {
        name: Bucket(rows=state[name].rows, fingerprint=state[name].fingerprint, figures=figures[name], files=[])
        for name in state
    }
    for staged in sorted(folder.rglob("*.parquet")):
        name = staged.parent.name.partition("=")[2]
        if name not in buckets:
            raise DataError(f"{table.found_as}: {name} was exported, but Postgres counted no rows there")
        buckets[name].files.append(_take(settings, snapshot.connection, staged, table.name, name, snapshot_id))
    for name, bucket in buckets.items():
        rows = sum(file.rows for file in bucket.files)
        if rows != bucket.rows:
            raise DataError(
                f"{table.found_as}, {name}: {rows} rows were exported, but Postgres counted {bucket.rows} "
                "in the same snapshot. Nothing was kept"
            )
    return LakeTable(
        found_as=table.found_as,
        columns=list(table.columns),
        roles=dict(table.roles),
        schema_sha256=table.schema_sha256,
        snapshot_id=snapshot_id,
        buckets=buckets,
    )


def _take(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    staged: Path,
    table: str,
    bucket: str,
    snapshot_id: str,
) -> LakeFile:
    """Move a finished file to its place; a new name each time, so the old manifest stays true until replaced."""
    place = settings.lake_dir / table / bucket / f"{snapshot_id}-{staged.stem}.parquet"
    (rows,) = connection.execute("SELECT num_rows FROM parquet_file_metadata($1)", [str(staged)]).fetchone() or (0,)
    durable.move(staged, place)
    return LakeFile(
        path=place.relative_to(settings.lake_dir).as_posix(),
        rows=rows,
        bytes=place.stat().st_size,
        sha256=durable.sha256(place),
    )
