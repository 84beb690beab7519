"""Provide the inputs of parquet mode: tables from external files, and tables carried over.

Build them whole, because their changes are not known by month.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import is_resource_error
from americano_pipelines.common.quoted_values import redact_values
from americano_pipelines.errors import SourceError, UnreadableRecordError
from americano_pipelines.settings import DataFolder
from americano_pipelines.sources.checksums import BucketChecksum, duckdb_checksums
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.sources.parquet_files import FileTable
from americano_pipelines.sources.parquet_values import check_values
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.sort_ranges import Chunk

VALUES_CHECKED = "values_checked"
"""In the record of a published file: the values of all its files were checked."""


def checked_before(paths: DataFolder) -> frozenset[str]:
    """Hashes of the files whose values were checked when the published file was built."""
    try:
        document = snapshots.read_record(paths)
    except UnreadableRecordError:
        return frozenset()
    if document is None or not document.source.get(VALUES_CHECKED):
        return frozenset()
    return frozenset(document.source["files"].values())


@dataclass(frozen=True)
class FileInput:
    """A table from external files; its figures come from reading the files a second time.

    Attributes:
        table: the table.
        checked: hashes of files whose values were checked before.
    """

    table: FileTable
    checked: frozenset[str] = frozenset()

    @property
    def state_sha256(self) -> str:
        """Hash of the files and of the schema that they were read with."""
        return f"{self.table.state_sha256}:{self.table.schema_sha256}"

    @property
    def buckets(self) -> None:
        """Nothing is known of a file by month."""

    @property
    def carried_from(self) -> None:
        """It comes from the source."""

    @property
    def can_be_reread(self) -> bool:
        """It does not change, or `check_unchanged` raises an error."""
        return True

    def chunks(self, only: Collection[str] | None) -> list[Chunk]:  # noqa: ARG002 - always all
        """All files at once: nothing is known of their order.

        Raises:
            SourceError: a file is damaged by its checksums, or has values that would not arrive exactly.
        """
        try:
            for file in self.table.files:
                if file.sha256 not in self.checked:
                    check_values(file.path, self.table.finer.get(file.path, ()))
        except SourceError:
            self.table.check_unchanged()
            raise
        return [(self.table.relation, self.table.parameters)]

    def figures(
        self, connection: duckdb.DuckDBPyConnection, only: Collection[str] | None
    ) -> Mapping[str, BucketChecksum]:
        """Figures of the files."""
        return duckdb_checksums(connection, self.table, self.table.relation, self.table.parameters, only)

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Report a file that changed; one that did not is damaged behind its footer."""
        try:
            yield
        except duckdb.Error as error:
            if is_resource_error(error):
                raise
            self.table.check_unchanged()
            raise SourceError(
                f"{self.table.found_as}: its rows cannot be read whole; nothing was published. "
                f"DuckDB said: {redact_values(str(error).strip())}"
            ) from None

    def check_unchanged(self) -> None:
        """Make sure that no file was written to meanwhile."""
        self.table.check_unchanged()


@dataclass(frozen=True)
class CarriedInput:
    """A table whose source is not there this time, carried over from the file published before."""

    table: SourceTable
    state_sha256: str
    catalog: str
    carried_from: str

    @property
    def buckets(self) -> None:
        """It is carried over whole."""

    @property
    def _relation(self) -> str:
        return sql.quote(self.catalog, "analytics", self.table.name)

    @property
    def can_be_reread(self) -> bool:
        """It does not change, or `check_unchanged` raises an error."""
        return True

    def chunks(self, only: Collection[str] | None) -> list[Chunk]:  # noqa: ARG002 - always all
        """The published table."""
        return [(self._relation, [])]

    def figures(
        self, connection: duckdb.DuckDBPyConnection, only: Collection[str] | None
    ) -> Mapping[str, BucketChecksum]:
        """Figures of the published table."""
        return duckdb_checksums(connection, self.table, self._relation, only=only)

    def translated_errors(self) -> AbstractContextManager[None]:
        """The file was compared with its hash."""
        return nullcontext()

    def check_unchanged(self) -> None:
        """Nothing to check: a published file does not change."""
