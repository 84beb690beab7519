"""Exports made by others: finding the Parquet files of a table and making sure they can be read whole.

Here belongs everything that can be wrong with a file somebody else wrote. Our own exports are `lake/`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from americano_pipelines import durable, sql
from americano_pipelines.errors import ConfigError, SourceError, TransientSourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import CONTRACTS, TableContract
from americano_pipelines.sources.places import check_folder_names, expand, folder_values, root_of
from americano_pipelines.sources.tables import Column, SourceTable, check_role_types, find_roles


@dataclass(frozen=True)
class InputFile:
    """One Parquet file as it was when it was looked at.

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
        root: the folder they were looked for in; folders below it may be called `column=value`.
    """

    files: tuple[InputFile, ...]
    root: Path

    @property
    def relation(self) -> str:
        """SQL of a scan over the files; binds `paths`."""
        keys = {tuple(part.partition("=")[0] for part in folder_values(f.path, self.root)) for f in self.files}
        by_folder = str(len(keys) == 1 and keys != {()}).lower()
        return f"read_parquet($1, union_by_name = true, hive_partitioning = {by_folder})"

    @property
    def paths(self) -> list[str]:
        """What the scan binds."""
        return [sql.literal_path(file.path) for file in self.files]

    @property
    def state_sha256(self) -> str:
        """Hash of the files' contents, in order: equal content is an equal state wherever it lies."""
        # With the names of `column=value` folders, for they are values too.
        states = [f"{file.sha256} {values}" for file, values in zip(self.files, self._folder_values, strict=True)]
        return hashlib.sha256("\n".join(states).encode()).hexdigest()

    @property
    def _folder_values(self) -> list[str]:
        return ["/".join(folder_values(file.path, self.root)) for file in self.files]

    def check_unchanged(self) -> None:
        """Make sure that nobody wrote to the files since they were hashed.

        Raises:
            TransientSourceError: naming the file.
        """
        for file in self.files:
            if not file.path.is_file() or _stamp(file.path) != file.stamp:
                raise TransientSourceError(
                    f"{file.path} changed while it was being read; nothing was published. "
                    "Run the sync again when the file is complete"
                )


def find_files(
    connection: duckdb.DuckDBPyConnection, settings: Settings
) -> tuple[dict[str, FileTable], dict[str, str]]:
    """Look for every table's files and read what they say of themselves.

    Returns:
        The tables found, by warehouse name; and for the others why they are skipped.

    Raises:
        SourceError: a file is broken, files disagree, or the events have no time column.
        ConfigError: a file is one of our own exports.
    """
    found: dict[str, FileTable] = {}
    skipped: dict[str, str] = {}
    for contract in CONTRACTS:
        location = settings.parquet_input(contract.name)
        paths = expand(location)
        if own := next((p for p in paths if p.resolve().is_relative_to(settings.lake_dir.resolve())), None):
            raise ConfigError(
                f"{contract.name.upper()}_PARQUET: leads to {own}, which is our own export; it names files made by "
                "others, so point it elsewhere"
            )
        if paths:
            found[contract.name] = _describe(connection, settings, contract, paths)
        else:
            skipped[contract.name] = (
                f"no Parquet file at {location} (set {contract.name.upper()}_PARQUET to a file, folder or glob)"
            )
    return found, skipped


def hash_file(path: Path) -> InputFile:
    """Hash a file's bytes and note its size and time from before the reading.

    Raises:
        SourceError: it may not be read; TransientSourceError: it is gone again.
    """
    try:
        stamp, sha256 = _stamp(path), durable.sha256(path)
    except FileNotFoundError:
        raise TransientSourceError(f"{path} was taken away while it was being read; nothing was published") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Nothing was published") from None
    return InputFile(path, stamp[0], stamp, sha256)


def file_columns(connection: duckdb.DuckDBPyConnection, path: Path) -> list[tuple[str, str]]:
    """Names and DuckDB types of the columns in a Parquet file.

    Raises:
        SourceError: the file is not a whole Parquet file.
    """
    statement = "DESCRIBE FROM read_parquet($1, hive_partitioning = false)"
    try:
        rows = connection.execute(statement, [sql.literal_path(path)]).fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"{path} cannot be read as Parquet: it is truncated, still being written, or something else. "
            f"Nothing was published. DuckDB said: {str(error).partition(chr(10) + 'LINE ')[0].strip()}"
        ) from None
    return [(str(row[0]), str(row[1])) for row in rows]


def _describe(
    connection: duckdb.DuckDBPyConnection, settings: Settings, contract: TableContract, paths: Sequence[Path]
) -> FileTable:
    first_seen: dict[str, tuple[str, Path]] = {}
    files = []
    for path in paths:
        files.append(hash_file(path))
        for name, type_name in file_columns(connection, path):
            # Read together, DuckDB takes names that differ only in case for one column.
            known, where = first_seen.setdefault(name.casefold(), (type_name, path))
            if known != type_name:
                raise SourceError(
                    f"{path}: column {name!r} is {type_name}, but {known} in {where}. Files of one table must "
                    "agree on types; nothing was published"
                )
    location = settings.parquet_input(contract.name)
    found_as, root = str(location), root_of(location)
    check_folder_names(paths, root, first_seen)
    table = FileTable(contract, found_as, (), {}, tuple(files), root)
    # What the scan itself will give: with folders called `month=2025-01`, their columns too.
    rows = connection.execute(f"DESCRIBE FROM {table.relation}", [table.paths]).fetchall()
    columns = tuple(Column(str(row[0]), str(row[1]), str(row[1])) for row in rows)
    names = [column.name for column in columns]
    roles = find_roles(contract, names, settings.americano_columns, _label(paths))
    check_role_types(_label(paths), columns, roles)
    return replace(table, columns=columns, roles=roles)


def _label(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
