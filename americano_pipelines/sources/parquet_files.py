"""Find the external Parquet files of a table, and check that they can be read whole."""

# Combine their paths, footers and columns into one table per contract. Our own exports are in `lake/`.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.hashing import file_sha256, sha256_hex
from americano_pipelines.errors import ConfigError, SourceError, TransientSourceError, system_words
from americano_pipelines.settings import Settings
from americano_pipelines.sources.column_roles import SourceTable, check_role_types
from americano_pipelines.sources.contracts import CONTRACTS, TableContract
from americano_pipelines.sources.hive_partitions import partition_columns, partition_values
from americano_pipelines.sources.parquet_footers import Footer, read_footers
from americano_pipelines.sources.path_expansion import expand, root_of
from americano_pipelines.sources.schema_agreement import Part, combine_columns


@dataclass(frozen=True)
class InputFile:
    """One Parquet file as it was when it was hashed.

    Attributes:
        path: where it is.
        size: bytes.
        stamp: size, modification and change time in nanoseconds, inode: what any writing or replacing changes.
        sha256: hash of its bytes.
    """

    path: Path
    size: int
    stamp: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class FileTable(SourceTable):
    """A source table in Parquet files.

    Attributes:
        files: its files in order of their names.
        root: the folder that was searched; folders below it may be called `column=value`.
        keys: the columns that those folders define.
        parts: the files with rows, by how they are read.
        finer: columns that may hold instants finer than a microsecond, by file.
    """

    files: tuple[InputFile, ...]
    root: Path
    keys: tuple[str, ...]
    parts: tuple[Part, ...]
    finer: Mapping[Path, tuple[str, ...]]

    @property
    def relation(self) -> str:
        """SQL of the rows of all files; binds `parameters`."""
        by_folder = str(bool(self.keys)).lower()
        selects = [
            f"SELECT {self._values(part)} FROM read_parquet(${number}, "  # noqa: S608 - quoted
            f"hive_partitioning = {by_folder}, hive_types_autocast = false)"
            for number, part in enumerate(self.parts, 1)
        ]
        return f"({' UNION ALL '.join(selects)})"

    @property
    def parameters(self) -> list[list[str]]:
        """What the scan binds: the paths of each part."""
        return [[sql.literal_path(path) for path in part.paths] for part in self.parts]

    def _values(self, part: Part) -> str:
        values = {column.name: part.values.get(column.name, f"CAST(NULL AS {column.type})") for column in self.columns}
        return ", ".join(f"{value} AS {sql.quote(name)}" for name, value in values.items())

    @property
    def state_sha256(self) -> str:
        """Hash of the files' contents, in order: equal content is an equal state wherever it lies."""
        # With the names of `column=value` folders, for they are values too.
        states = [f"{file.sha256} {values}" for file, values in zip(self.files, self._folder_values, strict=True)]
        return sha256_hex("\n".join(states).encode())

    @property
    def _folder_values(self) -> list[str]:
        return ["/".join(partition_values(file.path, self.root)) for file in self.files]

    def check_unchanged(self) -> None:
        """Check that the files were not written to since they were hashed.

        Raises:
            TransientSourceError: naming the file.
        """
        for file in self.files:
            if not file.path.is_file() or stamp_of(file.path) != file.stamp:
                raise TransientSourceError(
                    f"{file.path} changed while it was read; nothing was published. "
                    "Run the sync again when the file is complete"
                )


def find_files(
    connection: duckdb.DuckDBPyConnection, settings: Settings
) -> tuple[dict[str, FileTable], dict[str, str]]:
    """Find every table's files and read their footers.

    Returns:
        The tables found, by warehouse name; and for the others why they are skipped.

    Raises:
        SourceError: a file is broken, files disagree, or the events have no time column.
        ConfigError: a file is one of our own exports.
    """
    tables: dict[str, FileTable] = {}
    skipped: dict[str, str] = {}
    readers: dict[Path, str] = {}
    for contract in CONTRACTS:
        location = settings.parquet_input(contract.name)
        paths = expand(location)
        for path in paths:
            if (other := readers.setdefault(path.resolve(), contract.name)) != contract.name:
                raise ConfigError(
                    f"{contract.name.upper()}_PARQUET: leads to {path}, and {other.upper()}_PARQUET too; a file holds "
                    "the rows of one table"
                )
        if own := next((p for p in paths if p.resolve().is_relative_to(settings.paths.lake.resolve())), None):
            raise ConfigError(
                f"{contract.name.upper()}_PARQUET: leads to {own}, which is our own export; it names files made by "
                "others, so point it elsewhere"
            )
        if paths:
            tables[contract.name] = _describe(connection, settings, contract, paths)
        else:
            skipped[contract.name] = (
                f"no Parquet file at {location} (set {contract.name.upper()}_PARQUET to a file, folder or glob)"
            )
    return tables, skipped


def hash_file(path: Path) -> InputFile:
    """Hash a file's bytes and note its size and time from before the reading.

    Raises:
        SourceError: it may not be read; TransientSourceError: it was removed meanwhile.
    """
    try:
        stamp, sha256 = stamp_of(path), file_sha256(path)
    except FileNotFoundError:
        raise TransientSourceError(f"{path} was removed while it was read; nothing was published") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {system_words(error)}. Nothing was published") from None
    return InputFile(path, stamp[0], stamp, sha256)


def _describe(
    connection: duckdb.DuckDBPyConnection, settings: Settings, contract: TableContract, paths: Sequence[Path]
) -> FileTable:
    location = settings.parquet_input(contract.name)
    root = root_of(location)
    files = tuple(hash_file(path) for path in paths)
    footers = read_footers(connection, paths)
    with_types = _files_with_types(footers)
    in_files = {sql.folded(column.name) for footer in with_types.values() for column in footer.columns}
    keys = partition_columns(list(with_types), root, in_files)
    agreed = combine_columns(connection, contract, with_types, keys, settings.americano_columns)
    check_role_types(_label(paths), agreed.columns, agreed.roles)
    return FileTable(
        contract=contract,
        found_as=str(location),
        columns=agreed.columns,
        roles=agreed.roles,
        files=files,
        root=root,
        keys=tuple(keys),
        parts=agreed.parts,
        finer={
            path: finer
            for path, footer in with_types.items()
            if (finer := tuple(column.name for column in footer.columns if column.finer))
        },
    )


def _files_with_types(footers: Mapping[Path, Footer]) -> dict[Path, Footer]:
    """The files whose columns are those of the table.

    A file without rows counts, but its columns mean nothing: pandas gives an empty day any type. Where no file has
    rows, the one with the most columns stands for all, so that none can disagree.
    """
    with_rows = {path: footer for path, footer in footers.items() if footer.rows}
    return with_rows or dict([max(footers.items(), key=lambda item: len(item[1].columns))])


def _label(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def stamp_of(path: Path) -> tuple[int, ...]:
    """Size, modification and change time in nanoseconds, inode: what any writing or replacing changes."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
