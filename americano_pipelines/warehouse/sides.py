"""The source's tables as a comparison wants them: rows, figures and states, in one snapshot.

Here belongs reading the source. Comparing is `verify.py`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from americano_pipelines.lake.export import state_that_export_sees
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.catalog import steady_tables
from americano_pipelines.sources.figures import Figures, postgres_state_and_figures
from americano_pipelines.sources.files import find_files
from americano_pipelines.sources.postgres import open_snapshot
from americano_pipelines.sources.read import rows_of
from americano_pipelines.sources.state import same_history
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.stages import Stages
from americano_pipelines.warehouse.document import BuiltTable, Document
from americano_pipelines.warehouse.file_inputs import FileInput
from americano_pipelines.warehouse.inputs import ScannerInput


@dataclass(frozen=True)
class Side:
    """A table in the source.

    Attributes:
        table: its columns.
        relation: SQL of its rows.
        parameters: what that binds.
        figures: its figures by bucket.
        states: bucket to the state that the next sync would see, None when that is known only of the whole.
        state_sha256: its state as a whole.
    """

    table: SourceTable
    relation: str
    parameters: list[Any]
    figures: Mapping[str, Figures]
    states: Mapping[str, str] | None
    state_sha256: str

    def will_be_mended(self, bucket: str, built: BuiltTable) -> bool:
        """Whether a bucket is to be in another state after the next sync than the one that was built."""
        if self.states is None:
            return self.state_sha256 != built.state_sha256
        return self.states.get(bucket) != built.buckets.get(bucket)


@contextmanager
def source_sides(
    settings: Settings, connection: duckdb.DuckDBPyConnection, document: Document, stages: Stages
) -> Iterator[tuple[dict[str, Side], dict[str, str], bool]]:
    """The source's tables: in one snapshot of Postgres, or from the files.

    Args:
        settings: the source.
        connection: the session that compares.
        document: the record of the published file.
        stages: told what is being done.

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
        steady_tables(snapshot, settings) as (found, skipped),
    ):
        comparable = same_history(document.source, snapshot.identity)
        sides = {}
        for name, table in found.items():
            relation, parameters = rows_of(snapshot, table, {}, ())
            with stages.stage(f"count {name}"):
                state, figures = postgres_state_and_figures(snapshot, table)
            built = document.tables.get(name)
            same = comparable and built is not None and built.identity == table.identity
            if settings.mode is Mode.POSTGRES:
                state = dict(state_that_export_sees(settings, snapshot, table, state))
            states = ScannerInput(table, snapshot, state).buckets if same else {}
            sides[name] = Side(table, relation, parameters, figures, states, "")
        yield sides, skipped, comparable


def _file_side(connection: duckdb.DuckDBPyConnection, given: FileInput) -> Side:
    table = given.table
    return Side(table, table.relation, table.parameters, given.figures(connection, None), None, given.state_sha256)
