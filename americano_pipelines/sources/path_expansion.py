"""Expand a location (file, folder or pattern) to the Parquet files it means. Look at names only, not into files."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from americano_pipelines.errors import SourceError, TransientSourceError, system_words
from americano_pipelines.sources.folder_keys import folder_values

# Signs of a table format with a log of its own, where only the log names the files that belong to the table:
# the folder, and a pattern of files in it.
_TABLE_FORMATS = {
    ("_delta_log", None): "Delta Lake",
    (".hoodie", None): "Apache Hudi",
    ("metadata", "*.metadata.json*"): "Apache Iceberg",
    ("metadata", "version-hint.text"): "Apache Iceberg",
    ("snapshot", "LATEST"): "Apache Paimon",
    ("_versions", "*.manifest"): "Lance",
}
_DUCKLAKE = "ducklake-"


def expand(location: Path) -> list[Path]:
    """The files that a setting means: one file, all `*.parquet` below a folder, or a glob's matches.

    A folder that a glob matches counts with the `*.parquet` below it: Spark writes a data set as a folder of that
    name. In a folder or a glob, files and folders whose names start with a dot or an underscore are skipped: other
    programs mark unfinished files so. A file that is met twice, also through a link, counts once; it is refused if
    the two ways to it differ in their `column=value` folders.

    Raises:
        SourceError: a folder may not be read, a name is not UTF-8, a link leads nowhere or to a folder with other
            values, or the files belong to a Delta Lake, Hudi or Iceberg table.
    """
    try:
        paths = _expand(location)
        _refuse_table_formats(location, paths)
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
    by_place: dict[str, Path] = {}
    folders: dict[Path, str] = {}
    for path in sorted(path for path in matches if not _is_hidden(path.parts[above:])):
        if not path.is_file():
            raise _leads_nowhere(path)
        _refuse_other_encoding(path)
        if path.is_symlink():
            place = os.path.realpath(path)
        else:
            # By folder, not by file: for 10,000 files that takes a second.
            folder = path.parent
            place = os.path.join(folders.get(folder) or folders.setdefault(folder, os.path.realpath(folder)), path.name)  # noqa: PTH118
        _refuse_other_values(by_place.setdefault(place, path), path, above)
    return list(by_place.values())


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
        place = os.path.realpath(name)
        if place in visited:
            if not Path(os.path.realpath(Path(name).parent)).is_relative_to(place):  # else it leads in a circle
                _refuse_other_values(visited[place] / "*", Path(name, "*"), len(folder.parts))
            folders.clear()
            continue
        visited[place] = Path(name)
        folders[:] = [part for part in folders if not _is_hidden((part,))]
        paths += [Path(name, file) for file in files if file.lower().endswith(".parquet")]
    return paths


def _is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith((".", "_")) for part in parts)


def _raise(error: OSError) -> None:
    raise error


def _refuse_other_values(path: Path, other: Path, above: int) -> None:
    values, other_values = (folder_values(Path(*each.parts[above:]), Path()) for each in (path, other))
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


def _refuse_table_formats(location: Path, paths: Sequence[Path]) -> None:
    """Refuse files of tables that have a log: without it, rows that were removed are read as if they were there."""
    starts = {path.parent for path in paths} | ({location} if location.is_dir() else set())
    # Check the target of a link too: it may point into such a table.
    places = {folder.absolute() for folder in starts} | {Path(os.path.realpath(folder)) for folder in starts}
    places |= {Path(os.path.realpath(path)).parent for path in paths if path.is_symlink()}
    for folder in sorted({above for place in places for above in (place, *place.parents)}):
        for (below, pattern), kind in _TABLE_FORMATS.items():
            # `exists` first: searching 10,000 folders for a pattern takes 3 s.
            if os.path.exists(folder / below) and (pattern is None or any((folder / below).glob(pattern))):  # noqa: PTH110
                raise SourceError(
                    f"{folder} is a {kind} table ({below} lies in it). Its Parquet files are not its rows: they also "
                    "hold rows that were removed or replaced. Export the table to plain Parquet files elsewhere, and "
                    "point the setting there; nothing was published"
                )
    if own := next((path for path in paths if path.name.startswith(_DUCKLAKE)), None):
        raise SourceError(
            f"{own} is a data file of a DuckLake table, whose rows only its catalog knows. Export the table to "
            "plain Parquet files elsewhere, and point the setting there; nothing was published"
        )
