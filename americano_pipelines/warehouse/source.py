"""What a build starts from, opened for as long as it takes: the lake, files made by others, or Postgres.

Here belongs choosing the inputs by mode. How each of them gives its rows is `inputs.py`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb

from americano_pipelines.errors import SourceError
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.catalog import steady_tables
from americano_pipelines.sources.files import find_files
from americano_pipelines.sources.postgres import open_snapshot
from americano_pipelines.sources.state import source_state
from americano_pipelines.stages import Stages
from americano_pipelines.warehouse.file_inputs import VALUES_CHECKED, FileInput, checked_before
from americano_pipelines.warehouse.inputs import LakeInput, ScannerInput, TableInput
from americano_pipelines.warehouse.unpublished import STAMPS


@dataclass(frozen=True)
class Source:
    """One instant of the source.

    Attributes:
        instant: when, ISO 8601, UTC: Postgres's clock, or ours when the files were looked at.
        identity: what tells it apart from any other.
        inputs: the tables that are there.
        skipped: the tables that are not, with the reason.
    """

    instant: str
    identity: Mapping[str, Any]
    inputs: Mapping[str, TableInput]
    skipped: Mapping[str, str]


@contextmanager
def open_source(settings: Settings, connection: duckdb.DuckDBPyConnection, stages: Stages) -> Iterator[Source]:
    """Open the source that the settings choose.

    In scanner mode the whole block is one transaction: what it reads belongs to one snapshot of Postgres.

    Raises:
        SourceError: it cannot be read in full, or (postgres mode) nothing was exported yet.
    """
    if settings.mode is Mode.SCANNER and settings.postgres is not None:
        with (
            open_snapshot(connection, settings.postgres) as snapshot,
            steady_tables(snapshot, settings) as (found, skipped),
        ):
            inputs: dict[str, TableInput] = {}
            for name, table in found.items():
                with stages.stage(f"compare {name}"):
                    inputs[name] = ScannerInput(table, snapshot, source_state(snapshot, table))
            yield Source(snapshot.taken_at, snapshot.identity, inputs, skipped)
    elif settings.mode is Mode.POSTGRES:
        manifest = lake.read(settings)
        if manifest is None:
            raise SourceError(f"there is no export in {settings.lake_dir} yet; materialize the parquet assets first")
        identity = {"lake_snapshot": manifest.snapshot_id, **manifest.source}
        content = manifest.tables.items()
        lake_inputs = {name: LakeInput(name, settings.lake_dir, table) for name, table in content}
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
        checked = checked_before(settings)
        file_inputs = {name: FileInput(table, checked) for name, table in files.items()}
        yield Source(instant, identity, file_inputs, missing)
