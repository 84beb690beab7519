"""Provide the inputs of a build: each table's rows in chunks, and the checksums that its copy must match."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb

from americano_pipelines.common import atomic_files, sql
from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.errors import LakeDamagedError
from americano_pipelines.lake.manifest import LakeTable
from americano_pipelines.sources.change_detection import NO_MONTH, State, state_sha256, time_expression
from americano_pipelines.sources.checksums import BucketChecksum, postgres_checksums
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_errors import postgres_errors
from americano_pipelines.sources.postgres_snapshot import Snapshot
from americano_pipelines.sources.row_widths import memory_bounded, plan_reading, range_bytes
from americano_pipelines.warehouse.sort_ranges import PARQUET_FILES, Chunk


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
    def carried_from(self) -> str | None:
        """The instant of an earlier publication that it is carried over from, ISO 8601; None when the source has it."""

    @property
    def can_be_reread(self) -> bool:
        """Whether a chunk can be read more than once."""

    def chunks(self, only: Collection[str] | None) -> list[Chunk]:
        """Its rows (of some buckets, or all), in chunks that follow each other in sort order."""

    def figures(
        self, connection: duckdb.DuckDBPyConnection, only: Collection[str] | None
    ) -> Mapping[str, BucketChecksum]:
        """The figures of the source's rows, by bucket, taken from the source and not from the copy."""

    def translated_errors(self) -> AbstractContextManager[None]:
        """Translate errors of the block, in which rows are read, into errors that name the source."""

    def check_unchanged(self) -> None:
        """Raise an error if the source changed while it was read."""


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
    def carried_from(self) -> None:
        """It comes from the source."""

    @property
    def can_be_reread(self) -> bool:
        """The files do not change."""
        return True

    def chunks(self, only: Collection[str] | None) -> list[Chunk]:
        """A chunk for each month. Rows without one come before (BC, -infinity) and after (infinity, null) them.

        Raises:
            LakeDamagedError: a file is not as it was exported.
        """
        relation = PARQUET_FILES
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

    def translated_errors(self) -> AbstractContextManager[None]:
        """The files were compared with their hashes."""
        return nullcontext()

    def check_unchanged(self) -> None:
        """Nothing to check: the lake does not change under the writer lock."""

    def _check(self, files: list[tuple[Path, str]]) -> None:
        for path, sha256 in files:
            if not path.is_file() or file_sha256(path) != sha256:
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
    def carried_from(self) -> None:
        """It comes from the source."""

    @property
    def can_be_reread(self) -> bool:
        """Wide rows were set aside in files."""
        return self._folder.is_dir()

    def chunks(self, only: Collection[str] | None) -> list[Chunk]:
        """The rows in one read; wide rows through files, which are read again in the order of the key."""
        names = [name for name in self.state if only is None or name in only]
        if not names:
            return []
        reading = plan_reading(self.snapshot, self.table, self.state, names)
        if not reading.is_wide:
            return list(reading.ranges)
        connection = self.snapshot.connection
        folder = self._folder
        folder.mkdir()
        # Else the size of a row group is not bounded.
        connection.execute("SET preserve_insertion_order = false")
        files = [folder / f"{number}.parquet" for number in range(len(reading.ranges))]
        bytes_at_once = str(range_bytes(self.snapshot))
        with memory_bounded(self.snapshot, self.table, reading):
            for file, (relation, parameters) in zip(files, reading.ranges, strict=True):
                statement = sql.render(
                    sql.load("warehouse", "set_aside"),
                    relation=relation,
                    file=sql.escape(str(file)),
                    bytes=bytes_at_once,
                )
                connection.execute(statement, parameters)
        return [(PARQUET_FILES, [[sql.literal_path(file) for file in files]])]

    @property
    def _folder(self) -> Path:
        """A folder in the session's own spill folder, which is removed with the session."""
        (spill,) = self.snapshot.connection.execute("SELECT current_setting('temp_directory')").fetchone() or ("",)
        return Path(str(spill)) / f"rows-{self.table.name}"

    def figures(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002 - Postgres counts
        only: Collection[str] | None,
    ) -> Mapping[str, BucketChecksum]:
        """What Postgres counted."""
        return postgres_checksums(self.snapshot, self.table, only)

    def translated_errors(self) -> AbstractContextManager[None]:
        """Translate Postgres's errors."""
        return postgres_errors(self.snapshot.target, self.table.found_as)

    def check_unchanged(self) -> None:
        """A snapshot does not change; the files set aside are removed."""
        atomic_files.remove(self._folder)


def _tokens(state: Mapping[str, State]) -> dict[str, str]:
    return {name: f"{part.rows}:{part.fingerprint}" for name, part in state.items()}
