"""Expand a location (file, folder or pattern) to the Parquet files it means, by their names.

Look only into files whose names do not say that they are Parquet: whether they are nevertheless.
"""

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from americano_pipelines.errors import SourceError, TransientSourceError, system_words
from americano_pipelines.sources.hive_partitions import partition_values
from americano_pipelines.sources.table_formats import refuse_table_formats

_ENDINGS = (".parquet", ".parq", ".pq", ".pqt")
_COMPRESSED = re.compile(r"\.(parquet|parq|pqt?)\.(gz|gzip|zst|zstd|bz2|xz|lz4|br|snappy|zip)$")
_PARQUET = b"PAR1"


def expand(location: Path) -> list[Path]:
    """The files that a setting means: one file, all Parquet files below a folder, or a glob's matches.

    Below a folder the files count that end in .parquet, .parq, .pq or .pqt, in small or capital letters. A folder that
    a glob matches counts in the same way: Spark writes a data set as a folder. In a folder or a glob, files and folders
    whose names start with a dot or an underscore are skipped: other programs mark unfinished files so. A file that is
    met twice, also through a link, counts once; it is refused if the two ways to it differ in their `column=value`
    folders.

    Raises:
        SourceError: a folder may not be read, a name is not UTF-8, a link leads nowhere or to a folder with other
            values, or the files belong to a table with a log of its own, such as Delta Lake.
        TransientSourceError: a folder has a whole Parquet file with another ending, which may still get its name.
    """
    try:
        paths = _expand(location)
        refuse_table_formats(location, paths)
    except FileNotFoundError as error:
        raise TransientSourceError(
            f"{error.filename} was removed while it was looked at; nothing was published"
        ) from None
    except OSError as error:
        raise SourceError(
            f"{error.filename or location} cannot be read: {system_words(error)}. Nothing was published"
        ) from None
    return paths


def root_of(location: Path) -> Path:
    """The folder that a setting looks in: itself, a file's folder, or what comes before a glob's first pattern."""
    if location.is_dir():
        return location
    magic = next((i for i, part in enumerate(location.parts) if glob.has_magic(part)), len(location.parts) - 1)
    return Path(*location.parts[:magic])


def _expand(location: Path) -> list[Path]:
    if location.is_file():
        _refuse_other_encoding(location)
        return [location]
    if location.is_symlink() and not location.exists():
        raise _leads_nowhere(location)
    if location.is_dir():
        matches, above = _below(location), len(location.parts)
    else:
        matches, above = _matches(location), len(root_of(location).parts)
    by_real_path: dict[str, Path] = {}
    folders: dict[Path, str] = {}
    for path in sorted(path for path in matches if not _is_hidden(path.parts[above:])):
        if not path.is_file():
            raise _leads_nowhere(path)
        _refuse_other_encoding(path)
        if path.is_symlink():
            real_path = os.path.realpath(path)
        else:
            # By folder, not by file: for 10,000 files that takes a second.
            folder = path.parent
            real_folder = folders.get(folder) or folders.setdefault(folder, os.path.realpath(folder))
            real_path = os.path.join(real_folder, path.name)  # noqa: PTH118
        _refuse_other_values(by_real_path.setdefault(real_path, path), path, above)
    return list(by_real_path.values())


def _matches(pattern: Path) -> list[Path]:
    """What a glob matches, folders with the files below them."""
    above = len(root_of(pattern).parts)
    for depth in range(above, len(pattern.parts)):
        # `glob` silently leaves out a folder that it may not read.
        for folder in glob.iglob(str(Path(*pattern.parts[:depth])), recursive=True):  # noqa: PTH207 - Path.glob takes no absolute pattern
            if os.path.isdir(folder) and not _is_hidden(Path(folder).parts[above:]):  # noqa: PTH112 - 4 times as fast
                os.scandir(folder).close()
    paths: list[Path] = []
    for name in glob.iglob(str(pattern), recursive=True):  # noqa: PTH207
        path = Path(name)
        if not path.is_dir():
            paths.append(path)
        elif not _is_hidden(path.parts[above:]):
            paths += _below(path)
    return paths


def _below(folder: Path) -> list[Path]:
    """All Parquet files below a folder, also behind links to folders; each folder once."""
    paths: list[Path] = []
    visited: dict[str, Path] = {}
    for name, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        real_path = os.path.realpath(name)
        if real_path in visited:
            if not Path(os.path.realpath(Path(name).parent)).is_relative_to(real_path):  # else it leads in a circle
                _refuse_other_values(visited[real_path] / "*", Path(name, "*"), len(folder.parts))
            folders.clear()
            continue
        visited[real_path] = Path(name)
        folders[:] = [part for part in folders if not _is_hidden((part,))]
        for file in files:
            if file.lower().endswith(_ENDINGS):
                paths.append(Path(name, file))
            elif not _is_hidden((file,)) and _holds_parquet(Path(name, file)):
                raise TransientSourceError(
                    f"{Path(name, file)} holds Parquet, but in a folder only names that end in {', '.join(_ENDINGS)} "
                    "count, so its rows would be missing. Unpack it if it is compressed as a whole, else rename it; "
                    "move it away if it does not belong to the table. Nothing was published"
                )
    return paths


def _holds_parquet(path: Path) -> bool:
    """Whether a file begins and ends as a finished Parquet file does, or is called like a compressed one."""
    if not path.is_file():
        return False
    if _COMPRESSED.search(path.name.lower()):
        return True
    with path.open("rb") as file:
        if file.read(len(_PARQUET)) != _PARQUET or file.seek(0, os.SEEK_END) <= 2 * len(_PARQUET):
            return False
        file.seek(-len(_PARQUET), os.SEEK_END)
        return file.read() == _PARQUET


def _is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith((".", "_")) for part in parts)


def _raise(error: OSError) -> None:
    raise error


def _refuse_other_values(path: Path, other: Path, above: int) -> None:
    values, other_values = (partition_values(Path(*each.parts[above:]), Path()) for each in (path, other))
    if sorted(values) != sorted(other_values):
        raise SourceError(
            f"{other.parent} and {path.parent} are the same folder, but their names give their rows different values. "
            "Remove the link, or write the rows once for each value; nothing was published"
        )


def _refuse_other_encoding(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise SourceError(f"{shown}: the name is not UTF-8, so DuckDB cannot open the file. Rename it") from None


def _leads_nowhere(path: Path) -> SourceError:
    what = "is a link that leads nowhere" if path.is_symlink() else "is neither a file nor a folder"
    return SourceError(f"{path} {what}, so its rows would be missing. Repair or remove it; nothing was published")
