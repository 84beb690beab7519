"""What a build is made from: each table with its rows in chunks and the figures its copy must match.

Here belongs the difference between the ways in (lake, files, Postgres itself, the file published before).
The build sees none of it.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb

from americano_pipelines import durable, sql
from americano_pipelines.errors import DataError, SourceError
from americano_pipelines.lake.manifest import LakeTable
from americano_pipelines.sources.catalog import PostgresTable
from americano_pipelines.sources.figures import (
    NO_MONTH,
    Figures,
    State,
    duckdb_figures,
    postgres_figures,
    state_sha256,
    time_expression,
)
from americano_pipelines.sources.files import FileTable
from americano_pipelines.sources.postgres import Snapshot, translated
from americano_pipelines.sources.tables import SourceTable

Chunk = tuple[str, list[Any]]
"""SQL of a relation and the values it binds."""


class TableInput(Protocol):
    """A table to build."""

    @property
    def table(self) -> SourceTable:
        """Its columns and roles."""

    @property
    def state_sha256(self) -> str:
        """Equal when the source's rows are equal: the data version of what is built from it."""

    def chunks(self) -> list[Chunk]:
        """Its rows, in chunks that follow each other in sort order."""

    def figures(self, connection: duckdb.DuckDBPyConnection) -> Mapping[str, Figures]:
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

    def chunks(self) -> list[Chunk]:
        """A chunk for each month. Rows without one come before (BC, -infinity) and after (infinity, null) them.

        Raises:
            DataError: a file is not the one that was exported; the figures would miss most of its columns.
        """
        for bucket in self.content.buckets.values():
            for file in bucket.files:
                path = self.lake_dir / file.path
                if not path.is_file() or durable.sha256(path) != file.sha256:
                    raise DataError(
                        f"{path} is not the file that was exported; nothing was published. "
                        "Export it again with `americano sync --full`"
                    )
        relation = "read_parquet($1, hive_partitioning = false)"
        chunks: list[Chunk] = []
        for name, bucket in sorted(self.content.buckets.items()):
            files = [[str(self.lake_dir / file.path) for file in bucket.files]]
            if name == NO_MONTH:
                early = f"{time_expression(self.table)} < '0001-01-01'"
                chunks.insert(0, (f"(FROM {relation} WHERE {early})", files))
                chunks.append((f"(FROM {relation} WHERE ({early}) IS NOT TRUE)", files))
            elif bucket.files:
                chunks.append((relation, files))
        return chunks

    def figures(self, connection: duckdb.DuckDBPyConnection) -> Mapping[str, Figures]:  # noqa: ARG002
        """What Postgres counted."""
        return {name: bucket.figures for name, bucket in self.content.buckets.items()}

    def reading(self) -> AbstractContextManager[None]:
        """The files were compared with their hashes."""
        return nullcontext()

    def finish(self) -> None:
        """The lake stands still under the writer lock."""


@dataclass(frozen=True)
class FileInput:
    """A table from files made by others; its figures come from reading the files a second time."""

    table: FileTable

    @property
    def state_sha256(self) -> str:
        """Hash of the files and of what was made of their columns."""
        return f"{self.table.state_sha256}:{self.table.schema_sha256}"

    def chunks(self) -> list[Chunk]:
        """All files at once: nothing is known of their order."""
        return [(self.table.relation, [self.table.paths])]

    def figures(self, connection: duckdb.DuckDBPyConnection) -> Mapping[str, Figures]:
        """Figures of the files."""
        return duckdb_figures(connection, self.table, self.table.relation, [self.table.paths])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A file that changed says so; one that did not is broken behind its footer."""
        try:
            yield
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            self.table.check_unchanged()
            raise SourceError(
                f"{self.table.found_as}: its rows cannot be read whole; nothing was published. "
                f"DuckDB said: {str(error).strip()}"
            ) from None

    def finish(self) -> None:
        """Make sure that no file was written to meanwhile."""
        self.table.check_unchanged()


@dataclass(frozen=True)
class ScannerInput:
    """A table straight from Postgres, in the snapshot that also gives its figures."""

    table: PostgresTable
    snapshot: Snapshot
    state: Mapping[str, State]

    @property
    def state_sha256(self) -> str:
        """Hash of the state, as the lake would have it."""
        return state_sha256(self.table.schema_sha256, self.state)

    def chunks(self) -> list[Chunk]:
        """One parallel scan."""
        relation = self.snapshot.relation(self.table.schema, self.table.relation)
        return [(f"(SELECT {self.table.projection} FROM {relation})", [])]  # noqa: S608 - quoted identifiers

    def figures(self, connection: duckdb.DuckDBPyConnection) -> Mapping[str, Figures]:  # noqa: ARG002
        """What Postgres counted."""
        return postgres_figures(self.snapshot, self.table)

    def reading(self) -> AbstractContextManager[None]:
        """As all that Postgres says."""
        return translated(self.snapshot.target, self.table.found_as)

    def finish(self) -> None:
        """A snapshot stands still."""


@dataclass(frozen=True)
class CarriedInput:
    """A table whose source is not there this time, carried over from the file published before."""

    table: SourceTable
    state_sha256: str
    catalog: str

    @property
    def _relation(self) -> str:
        return sql.quote(self.catalog, "analytics", self.table.name)

    def chunks(self) -> list[Chunk]:
        """The published table."""
        return [(self._relation, [])]

    def figures(self, connection: duckdb.DuckDBPyConnection) -> Mapping[str, Figures]:
        """Figures of the published table."""
        return duckdb_figures(connection, self.table, self._relation)

    def reading(self) -> AbstractContextManager[None]:
        """The file was compared with its hash."""
        return nullcontext()

    def finish(self) -> None:
        """A published file stands still."""
