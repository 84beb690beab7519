"""Exports made by others: finding the Parquet files of a table and making sure they can be read whole.

Here belongs everything that can be wrong with a file somebody else wrote. Our own exports are `lake/`.
"""

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import CONTRACTS, TableContract
from americano_pipelines.sources.tables import Column, SourceTable, check_time_type, find_roles

_CHUNK = 1 << 20


@dataclass(frozen=True)
class InputFile:
    """One Parquet file as it was when it was looked at.

    Attributes:
        path: where it is.
        size: bytes.
        modified_ns: modification time, nanoseconds since 1970.
        sha256: hash of its bytes.
    """

    path: Path
    size: int
    modified_ns: int
    sha256: str


@dataclass(frozen=True)
class FileTable(SourceTable):
    """A source table in Parquet files.

    Attributes:
        files: its files in order of their names.
    """

    files: tuple[InputFile, ...]

    @property
    def relation(self) -> str:
        """SQL of a scan over the files; binds `paths`."""
        return "read_parquet($1, union_by_name = true)"

    @property
    def paths(self) -> list[str]:
        """What the scan binds."""
        return [str(file.path) for file in self.files]

    @property
    def state_sha256(self) -> str:
        """Hash of the files' contents, in order: equal content is an equal state wherever it lies."""
        return hashlib.sha256("\n".join(file.sha256 for file in self.files).encode()).hexdigest()

    def check_unchanged(self) -> None:
        """Make sure that nobody wrote to the files since they were hashed.

        Raises:
            TransientSourceError: naming the file.
        """
        for file in self.files:
            if not file.path.is_file() or _stamp(file.path) != (file.size, file.modified_ns):
                raise TransientSourceError(
                    f"{file.path} changed while it was being read; nothing was published. "
                    "Run the sync again when the file is complete"
                )


def expand(location: Path) -> list[Path]:
    """The files that a setting means: one file, all `*.parquet` below a folder, or a glob's matches."""
    if location.is_dir():
        found = [path for path in location.rglob("*.parquet") if path.is_file()]
    elif location.is_file():
        found = [location]
    else:
        found = [Path(name) for name in glob.glob(str(location), recursive=True) if Path(name).is_file()]  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(path for path in found if not path.name.startswith((".", "_")))


def find_files(
    connection: duckdb.DuckDBPyConnection, settings: Settings
) -> tuple[dict[str, FileTable], dict[str, str]]:
    """Look for every table's files and read what they say of themselves.

    Returns:
        The tables found, by warehouse name; and for the others why they are skipped.

    Raises:
        SourceError: a file is broken, files disagree, or the events have no time column.
    """
    found: dict[str, FileTable] = {}
    skipped: dict[str, str] = {}
    for contract in CONTRACTS:
        location = settings.parquet_input(contract.name)
        paths = expand(location)
        if paths:
            found[contract.name] = _describe(connection, settings, contract, paths)
        else:
            skipped[contract.name] = (
                f"no Parquet file at {location} (set {contract.name.upper()}_PARQUET to a file, folder or glob)"
            )
    return found, skipped


def hash_file(path: Path) -> InputFile:
    """Hash a file's bytes and note its size and time from before the reading."""
    size, modified_ns = _stamp(path)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return InputFile(path, size, modified_ns, digest.hexdigest())


def file_columns(connection: duckdb.DuckDBPyConnection, path: Path) -> list[tuple[str, str]]:
    """Names and DuckDB types of a Parquet file's columns.

    Raises:
        SourceError: the file is not a whole Parquet file.
    """
    try:
        rows = connection.execute("DESCRIBE SELECT * FROM read_parquet($1)", [str(path)]).fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"{path} cannot be read as Parquet: it is truncated, still being written, or something else. "
            f"Nothing was published. DuckDB said: {str(error).strip()}"
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
            known, where = first_seen.setdefault(name, (type_name, path))
            if known != type_name:
                raise SourceError(
                    f"{path}: column {name!r} is {type_name}, but {known} in {where}. Files of one table must "
                    "agree on types; nothing was published"
                )
    found_as = str(settings.parquet_input(contract.name))
    columns = tuple(Column(name, type_name, type_name) for name, (type_name, _) in first_seen.items())
    roles = find_roles(contract, list(first_seen), settings.americano_columns, _label(paths))
    check_time_type(_label(paths), contract, columns, roles.get(contract.sort_role))
    return FileTable(contract, found_as, columns, roles, tuple(files))


def _label(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _stamp(path: Path) -> tuple[int, int]:
    status: Any = path.stat()
    return int(status.st_size), int(status.st_mtime_ns)
