"""Describe the source's tables as they are now, in one snapshot, for a comparison with the published file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.lake.export import state_that_export_sees
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.change_detection import (
    State,
    same_history,
)
from americano_pipelines.sources.checksums import BucketChecksum, postgres_state_and_checksums
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.sources.parquet_files import find_files
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_scan import rows_of
from americano_pipelines.sources.postgres_snapshot import Snapshot, open_snapshot
from americano_pipelines.sources.row_widths import plan_reading
from americano_pipelines.sources.steady_tables import steady_tables
from americano_pipelines.warehouse.inputs import ScannerInput
from americano_pipelines.warehouse.parquet_inputs import FileInput
from americano_pipelines.warehouse.snapshot_record import BuiltTable, SnapshotRecord
from americano_pipelines.warehouse.sort_ranges import Chunk


@dataclass(frozen=True)
class SourceTableView:
    """A table in the source.

    Attributes:
        table: its columns.
        relation: SQL of its rows.
        parameters: what that binds.
        figures: its figures by bucket.
        states: bucket to the state that the next sync would see, None when that is known only of the whole.
        state_sha256: its state as a whole.
        translated_errors: a block that translates errors of reading the source.
        ranges: plan how to read all rows: at once, or in ranges where they are wide.
    """

    table: SourceTable
    relation: str
    parameters: list[Any]
    figures: Mapping[str, BucketChecksum]
    states: Mapping[str, str] | None
    state_sha256: str
    translated_errors: Callable[[], AbstractContextManager[None]]
    ranges: Callable[[], list[Chunk]]

    def will_change(self, bucket: str, built: BuiltTable) -> bool:
        """Whether the next sync will build the bucket in another state."""
        if self.states is None:
            return self.state_sha256 != built.state_sha256
        return self.states.get(bucket) != built.buckets.get(bucket)


@contextmanager
def source_table_views(
    settings: Settings, connection: duckdb.DuckDBPyConnection, document: SnapshotRecord, stages: StageTimer
) -> Iterator[tuple[dict[str, SourceTableView], dict[str, str], bool]]:
    """The source's tables: in one snapshot of Postgres, or from the files.

    Args:
        settings: the source.
        connection: the session that compares.
        document: the record of the published file.
        stages: counts and announces what is being done.

    Yields:
        Table to side; tables that are not there, with the reason; whether states can be compared with the document's.

    Raises:
        SourceError: the source cannot be read.
    """
    if settings.mode is Mode.PARQUET or settings.postgres is None:
        files, skipped = find_files(connection, settings)
        yield {name: _file_side(connection, FileInput(table)) for name, table in files.items()}, skipped, True
        return
    with (
        open_snapshot(connection, settings.postgres) as snapshot,
        steady_tables(snapshot, settings) as (tables, skipped),
    ):
        comparable = same_history(document.source, snapshot.identity)
        sides = {}
        for name, table in tables.items():
            relation, parameters = rows_of(snapshot, table, {}, ())
            with stages.stage(f"count {name}"):
                state, figures = postgres_state_and_checksums(snapshot, table)
            built = document.tables.get(name)
            same = comparable and built is not None and built.identity == table.identity
            if settings.mode is Mode.POSTGRES:
                state = dict(state_that_export_sees(settings.paths, snapshot, table, state))
            table_input = ScannerInput(table, snapshot, state)
            states = table_input.buckets if same else {}
            ranges = partial(_postgres_ranges, snapshot, table, state)
            sides[name] = SourceTableView(
                table, relation, parameters, figures, states, "", table_input.translated_errors, ranges
            )
        yield sides, skipped, comparable


def _postgres_ranges(snapshot: Snapshot, table: PostgresTable, state: Mapping[str, State]) -> list[Chunk]:
    return [*plan_reading(snapshot, table, state, state.keys()).ranges]


def _file_side(connection: duckdb.DuckDBPyConnection, table_input: FileInput) -> SourceTableView:
    table = table_input.table
    with table_input.translated_errors():
        figures = table_input.figures(connection, None)
    return SourceTableView(
        table,
        table.relation,
        table.parameters,
        figures,
        None,
        table_input.state_sha256,
        table_input.translated_errors,
        lambda: [(table.relation, [*table.parameters])],
    )
