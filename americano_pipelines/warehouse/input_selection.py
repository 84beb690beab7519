"""Choose the input of each table by mode; carry over tables whose file is absent (parquet mode)."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import DataError, SourceError
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.change_detection import source_state
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.sources.contracts import BY_NAME
from americano_pipelines.sources.parquet_files import find_files
from americano_pipelines.sources.postgres_snapshot import open_snapshot
from americano_pipelines.sources.steady_tables import steady_tables
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.inputs import LakeInput, ScannerInput, TableInput
from americano_pipelines.warehouse.parquet_inputs import VALUES_CHECKED, CarriedInput, FileInput, checked_before
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines.warehouse.unpublished_files import STAMPS


@dataclass(frozen=True)
class Source:
    """One instant of the source.

    Attributes:
        instant: when, ISO 8601, UTC: Postgres's clock, or ours when the files were looked at.
        identity: what distinguishes it from any other.
        inputs: the tables that the source has.
        skipped: the tables that it lacks, with the reason.
    """

    instant: str
    identity: Mapping[str, Any]
    inputs: Mapping[str, TableInput]
    skipped: Mapping[str, str]


@contextmanager
def open_source(settings: Settings, connection: duckdb.DuckDBPyConnection, stages: StageTimer) -> Iterator[Source]:
    """Open the source that the settings choose.

    In scanner mode the whole block is one transaction: what it reads belongs to one snapshot of Postgres.

    Raises:
        SourceError: it cannot be read in full, or (postgres mode) nothing was exported yet.
    """
    if settings.mode is Mode.SCANNER and settings.postgres is not None:
        with (
            open_snapshot(connection, settings.postgres) as snapshot,
            steady_tables(snapshot, settings) as (tables, skipped),
        ):
            inputs: dict[str, TableInput] = {}
            for name, table in tables.items():
                with stages.stage(f"compare {name}"):
                    inputs[name] = ScannerInput(table, snapshot, source_state(snapshot, table))
            yield Source(snapshot.taken_at, snapshot.identity, inputs, skipped)
    elif settings.mode is Mode.POSTGRES:
        manifest = lake.read(settings.paths)
        if manifest is None:
            raise SourceError(f"there is no export in {settings.paths.lake} yet; materialize the parquet assets first")
        identity = {"lake_snapshot": manifest.snapshot_id, **manifest.source}
        content = manifest.tables.items()
        lake_inputs = {name: LakeInput(name, settings.paths.lake, table) for name, table in content}
        yield Source(manifest.taken_at, identity, lake_inputs, manifest.skipped)
    else:
        with stages.stage("read files"):
            files, missing = find_files(connection, settings)
        instant = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        identity = {
            "files": {str(file.path): file.sha256 for table in files.values() for file in table.files},
            STAMPS: {name: {str(file.path): list(file.stamp) for file in table.files} for name, table in files.items()},
            VALUES_CHECKED: True,
        }
        checked = checked_before(settings.paths)
        file_inputs = {name: FileInput(table, checked) for name, table in files.items()}
        yield Source(instant, identity, file_inputs, missing)


_PREVIOUS = "published_before"


def carried_over(settings: Settings, before: SnapshotRecord | None, source: Source) -> dict[str, TableInput]:
    """The published tables whose files are missing this time."""
    if before is None or {settings.mode.value, before.content.mode} != {Mode.PARQUET.value}:
        return {}
    carried: dict[str, TableInput] = {}
    for name, built in before.tables.items():
        if name not in source.inputs and built.found_as == str(settings.parquet_input(name)):
            table = SourceTable(BY_NAME[name], built.found_as, tuple(built.columns), built.roles)
            carried[name] = CarriedInput(table, built.state_sha256, _PREVIOUS, built.instant)
    return carried


def attach_published(
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    published: Path,
    before: SnapshotRecord,
    carried: Collection[str],
    source: Source,
) -> None:
    """Attach a copy of the published file, in a temporary folder, for the tables that are carried over from it.

    Raises:
        DataError: the published file was changed, so nothing is carried over from it.
    """
    copy = snapshots.copy_of_published(folder, published, before)
    if copy is None:
        raise DataError(
            f"{published} was written to after it was published, so {', '.join(carried)} cannot be carried over from "
            f"it: {'; '.join(source.skipped[name] for name in carried)}. Put the files back and run the sync again"
        )
    connection.execute(f"ATTACH '{sql.escape(str(copy))}' AS {_PREVIOUS} (READ_ONLY)")
