"""Bring the lake to the state of the source: export what changed in one snapshot, replace the manifest last."""

from collections.abc import Mapping
from dataclasses import dataclass

from americano_pipelines.common import atomic_files
from americano_pipelines.common.duckdb_session import connect, resource_errors
from americano_pipelines.common.leftovers import sweep_leftovers
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.errors import ConfigError, LakeDamagedError
from americano_pipelines.lake import manifest as lake
from americano_pipelines.lake.manifest import LakeTable, Manifest
from americano_pipelines.lake.writer import Writer
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.sources.change_detection import State, is_untouched, same_history, source_state
from americano_pipelines.sources.checksums import BucketChecksum, postgres_checksums, postgres_state_and_checksums
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_snapshot import Snapshot, open_snapshot
from americano_pipelines.sources.steady_tables import steady_tables


@dataclass(frozen=True)
class Export:
    """What an export did.

    Attributes:
        manifest: what the lake holds now.
        written: table to the buckets that were exported or removed; a table without any was left unchanged.
        repaired: files that were damaged or missing and so were exported again: paths below the lake's folder; the
            manifest's own name when it could not be read.
        checked_at: the instant of the source that was compared, ISO 8601.
    """

    manifest: Manifest
    written: Mapping[str, list[str]]
    repaired: list[str]
    checked_at: str


def export(settings: Settings, stages: StageTimer, *, full: bool = False) -> Export:
    """Bring the lake to the state of the source at one instant. The caller holds the writer lock.

    Args:
        settings: the source and the lake's folder.
        stages: counts and announces what is being done.
        full: export everything, whatever the lake holds.

    Raises:
        SourceError: the source cannot be read in full; the lake is as it was.
        DataError: a file does not hold the rows that Postgres counted in the same snapshot.
    """
    with resource_errors(settings):
        _tidy_up(settings.paths)
        try:
            return _export(settings, stages, full=full)
        finally:
            # Also after a failure: the files that it wrote may have filled the disk.
            _tidy_up(settings.paths)


def _tidy_up(paths: DataFolder) -> None:
    """Remove files that the manifest does not name and leftovers of killed processes: both may fill the disk."""
    sweep_leftovers(paths)
    lake.sweep(paths)


def _export(settings: Settings, stages: StageTimer, *, full: bool) -> Export:
    target = settings.postgres
    if target is None:
        raise ConfigError("PG_HOST: no Postgres is configured to export from; set DATABASE_URL or PG_HOST")
    before, repaired = (None, []) if full else _read_manifest(settings.paths)
    settings.paths.lake.mkdir(parents=True, exist_ok=True)
    damaged = lake.damaged(settings.paths, before) if before is not None else {}
    repaired += [path for paths in damaged.values() for path in paths.values()]
    tables: dict[str, LakeTable] = {}
    written: dict[str, list[str]] = {}
    with (
        connect(settings) as connection,
        open_snapshot(connection, target) as snapshot,
        steady_tables(snapshot, settings) as (source_tables, skipped),
        temporary_folder(settings.paths.lake, "staging") as staging,
    ):
        writer = Writer(settings.paths.lake, staging, snapshot, atomic_files.new_id())
        if before is not None and not same_history(before.source, snapshot.identity):
            before = None
        for name, table in source_tables.items():
            kept = _kept(before, name, table)
            with stages.stage(f"compare {name}"):
                state, figures = _state(snapshot, table, kept, before)
            stale = _stale(state, kept, damaged.get(name, {}))
            if kept is not None and not stale:
                tables[name] = kept
                continue
            with stages.stage(f"export {name}"):
                figures = figures or postgres_checksums(snapshot, table, stale & state.keys())
                tables[name] = writer.table(table, state, figures, kept, stale)
            written[name] = sorted(stale)
        taken_at, identity = snapshot.taken_at, snapshot.identity
    if before is not None and not written and before.skipped == skipped and set(before.tables) == set(tables):
        return Export(before, {}, [], taken_at)
    manifest = Manifest(
        snapshot_id=writer.snapshot_id, taken_at=taken_at, source=identity, tables=tables, skipped=skipped
    )
    lake.replace(settings.paths, manifest)
    return Export(manifest, written, repaired, taken_at)


def state_that_export_sees(
    paths: DataFolder, snapshot: Snapshot, table: PostgresTable, state: Mapping[str, State]
) -> Mapping[str, State]:
    """What the lake would hold of a table after an export in this snapshot.

    Args:
        paths: where the lake is.
        snapshot: the snapshot.
        table: the table in it.
        state: its state in it. An export that sees an untouched table does not compute it.
    """
    before, _ = _read_manifest(paths)
    if before is None or not same_history(before.source, snapshot.identity):
        return state
    kept = _kept(before, table.name, table)
    return kept.state if kept is not None and is_untouched(snapshot, table, kept.rows, before.source) else state


def _read_manifest(paths: DataFolder) -> tuple[Manifest | None, list[str]]:
    """The manifest; or its name where it cannot be read, so that the run reports why everything is exported anew."""
    try:
        return lake.read(paths), []
    except LakeDamagedError:
        return None, [paths.manifest.name]


def _kept(before: Manifest | None, name: str, table: PostgresTable) -> LakeTable | None:
    """The lake's content of the same table with the same schema."""
    kept = before.tables.get(name) if before is not None else None
    if kept is None or (kept.schema_sha256, kept.found_as, kept.identity) != (
        table.schema_sha256,
        table.found_as,
        table.identity,
    ):
        return None
    return kept


def _state(
    snapshot: Snapshot, table: PostgresTable, kept: LakeTable | None, before: Manifest | None
) -> tuple[Mapping[str, State], Mapping[str, BucketChecksum]]:
    """The table's present state, and its figures if it is new; the cheap check for any change comes first."""
    if kept is None or before is None:
        return postgres_state_and_checksums(snapshot, table)
    if is_untouched(snapshot, table, kept.rows, before.source):
        return kept.state, {}
    return source_state(snapshot, table), {}


def _stale(state: Mapping[str, State], kept: LakeTable | None, damaged: Mapping[str, str]) -> set[str]:
    """Buckets that the lake does not hold as the source does: changed, new, gone, or damaged."""
    before = kept.state if kept is not None else {}
    return {name for name in state.keys() | before.keys() if state.get(name) != before.get(name)} | set(damaged)
