"""The inputs of a build: each table with its rows in chunks and the checksums its copy must match."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb

from americano_pipelines.common import atomic_files, sql
from americano_pipelines.common.duckdb_session import memory_limit, sparing
from americano_pipelines.errors import LakeDamagedError
from americano_pipelines.lake.manifest import LakeTable
from americano_pipelines.sources.change_detection import NO_MONTH, State, state_sha256, time_expression
from americano_pipelines.sources.checksums import BucketChecksum, postgres_checksums
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_errors import postgres_errors
from americano_pipelines.sources.postgres_scan import FAT_BYTES, WIDE_BYTES, row_bytes, rows_of, wide_parts
from americano_pipelines.sources.postgres_snapshot import Snapshot
from americano_pipelines.warehouse.parts import Chunk

_ASIDE = "americano_aside"
# Of the memory limit, for the rows that are read at once.
_PART_SHARE = 16


class TableInput(Protocol):
    """A table to build."""

    @property
    def table(self) -> SourceTable:
        """Its columns and roles."""

    @property
    def state_sha256(self) -> str:
        """Equal when the source's rows are equal: the data version of what is built from it."""

    @property
    def buckets(self) -> Mapping[str, str] | None:
        """Bucket to its state, as text; None when the table's state is known only as a whole."""

    @property
    def read_again(self) -> bool:
        """Whether a chunk can be read more than once."""

    def chunks(self, only: Collection[str] | None) -> list[Chunk]:
        """Its rows (of some buckets, or all), in chunks that follow each other in sort order."""

    def figures(
        self, connection: duckdb.DuckDBPyConnection, only: Collection[str] | None
    ) -> Mapping[str, BucketChecksum]:
        """The figures of the source's rows, by bucket, taken from the source and not from the copy."""

    def reading(self) -> AbstractContextManager[None]:
        """Turn what fails while its rows are read inside the block into an error that names the source."""

    def finish(self) -> None:
        """Raise if the source was not still for as long as it was read."""


@dataclass(frozen=True)
class LakeInput:
    """A table from our own exports; its figures come from Postgres, from the export's snapshot."""

    name: str
    lake_dir: Path
    content: LakeTable

    @property
    def table(self) -> SourceTable:
        """Its columns and roles."""
        return self.content.source_table(self.name)

    @property
    def state_sha256(self) -> str:
        """The lake table's state."""
        return self.content.state_sha256

    @property
    def buckets(self) -> Mapping[str, str]:
        """State of every bucket."""
        return _tokens(self.content.state)

    @property
    def read_again(self) -> bool:
        """The files stand still."""
        return True

    def chunks(self, only: Collection[str] | None) -> list[Chunk]:
        """A chunk for each month. Rows without one come before (BC, -infinity) and after (infinity, null) them.

        Raises:
            LakeDamagedError: a file is not as it was exported.
        """
        relation = "read_parquet($1, hive_partitioning = false)"
        chunks: list[Chunk] = []
        for name, bucket in sorted(self.content.buckets.items()):
            if (only is not None and name not in only) or not bucket.files:
                continue
            self._check([(self.lake_dir / file.path, file.sha256) for file in bucket.files])
            files = [[sql.literal_path(self.lake_dir / file.path) for file in bucket.files]]
            if name == NO_MONTH:
                early = f"{time_expression(self.table)} < '0001-01-01'"
                chunks.insert(0, (f"(FROM {relation} WHERE {early})", files))
                chunks.append((f"(FROM {relation} WHERE ({early}) IS NOT TRUE)", files))
            else:
                chunks.append((relation, files))
        return chunks

    def figures(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002 - the figures are in the manifest
        only: Collection[str] | None,
    ) -> Mapping[str, BucketChecksum]:
        """What Postgres counted."""
        return {name: bucket.figures for name, bucket in self.content.buckets.items() if only is None or name in only}

    def reading(self) -> AbstractContextManager[None]:
        """The files were compared with their hashes."""
        return nullcontext()

    def finish(self) -> None:
        """The lake stands still under the writer lock."""

    def _check(self, files: list[tuple[Path, str]]) -> None:
        for path, sha256 in files:
            if not path.is_file() or atomic_files.sha256(path) != sha256:
                raise LakeDamagedError(f"{path} is not as it was exported", path)


@dataclass(frozen=True)
class ScannerInput:
    """A table straight from Postgres, in the snapshot that also gives its figures."""

    table: PostgresTable
    snapshot: Snapshot
    state: Mapping[str, State]

    @property
    def state_sha256(self) -> str:
        """Hash of the state, as the lake would have it."""
        return state_sha256(self.table.identity, self.table.schema_sha256, self.state)

    @property
    def buckets(self) -> Mapping[str, str]:
        """State of every bucket."""
        return _tokens(self.state)

    @property
    def read_again(self) -> bool:
        """Wide rows are kept aside first."""
        return self._row_bytes() > WIDE_BYTES

    def chunks(self, only: Collection[str] | None) -> list[Chunk]:
        """One read of all that is wanted; wide rows by way of a table that may spill."""
        wanted = [name for name in self.state if only is None or name in only]
        if not wanted:
            return []
        width = self._row_bytes()
        if width <= WIDE_BYTES:
            return [rows_of(self.snapshot, self.table, self.state, wanted)]
        connection = self.snapshot.connection
        aside = sql.quote("temp", "main", f"{_ASIDE}_{self.table.name}")
        columns = ", ".join(f"{sql.quote(c.name)} {c.type}" for c in self.table.columns)
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {aside} ({columns})")
        with sparing(connection):
            parts = [rows_of(self.snapshot, self.table, self.state, wanted)]
            if width > FAT_BYTES and self.table.has_row_versions:
                budget = memory_limit(connection) // _PART_SHARE
                parts = wide_parts(self.snapshot, self.table, self.state, wanted, budget)
            for relation, parameters in parts:
                connection.execute(f"INSERT INTO {aside} FROM {relation}", parameters)
        return [(aside, [])]

    def _row_bytes(self) -> int:
        return row_bytes(self.snapshot, self.table, sum(part.rows for part in self.state.values()))

    def figures(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002 - Postgres counts
        only: Collection[str] | None,
    ) -> Mapping[str, BucketChecksum]:
        """What Postgres counted."""
        return postgres_checksums(self.snapshot, self.table, only)

    def reading(self) -> AbstractContextManager[None]:
        """As all that Postgres says."""
        return postgres_errors(self.snapshot.target, self.table.found_as)

    def finish(self) -> None:
        """A snapshot stands still; what was kept aside goes."""
        self.snapshot.connection.execute(
            f"DROP TABLE IF EXISTS {sql.quote('temp', 'main', f'{_ASIDE}_{self.table.name}')}"
        )


def _tokens(state: Mapping[str, State]) -> dict[str, str]:
    return {name: f"{part.rows}:{part.fingerprint}" for name, part in state.items()}
