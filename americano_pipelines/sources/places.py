"""Where the files of a table lie: what a setting (a file, a folder, a glob) means, and what folder names say.

Here belongs finding paths. What is in the files is `files.py`.
"""

import glob
import os
from collections.abc import Container, Sequence
from pathlib import Path

from americano_pipelines.errors import SourceError


def expand(location: Path) -> list[Path]:
    """The files that a setting means: one file, all `*.parquet` below a folder, or a glob's matches.

    In a folder or a glob, names that start with a dot or an underscore are what other programs call unfinished,
    as is all in folders of such a name. A file that is met twice, also through a link, is one file.
    """
    if location.is_file():
        return [location]
    if location.is_dir():
        found, above = _below(location), len(location.parts)
    else:
        found = [Path(name) for name in glob.glob(str(location), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute pattern
        above = len(root_of(location).parts)
    finished = (p for p in sorted(found) if not any(part.startswith((".", "_")) for part in p.parts[above:]))
    by_place: dict[Path, Path] = {}
    for path in finished:
        if path.is_file():
            by_place.setdefault(path.resolve(), path)
    return list(by_place.values())


def root_of(location: Path) -> Path:
    """The folder that a setting looks in: itself, a file's folder, or what comes before a glob's first pattern."""
    if location.is_dir():
        return location
    magic = next((i for i, part in enumerate(location.parts) if glob.has_magic(part)), len(location.parts) - 1)
    return Path(*location.parts[:magic])


def folder_values(path: Path, root: Path) -> list[str]:
    """The `column=value` folders between a root and a file."""
    return [part for part in path.relative_to(root).parts[:-1] if "=" in part]


def _below(folder: Path) -> list[Path]:
    """All Parquet files below a folder, also behind links to folders; each folder once."""
    found, seen = [], set()
    for name, folders, files in os.walk(folder, followlinks=True):
        here = Path(name)
        if here.resolve() in seen:
            folders.clear()
            continue
        seen.add(here.resolve())
        found += [here / file for file in files if file.lower().endswith(".parquet")]
    return found


def check_folder_names(paths: Sequence[Path], root: Path, columns: Container[str]) -> None:
    """Refuse folders called `column=value` that would hide a column of the files or come from above the root."""
    for path in paths:
        for part in folder_values(path, root):
            if part.partition("=")[0].casefold() in columns:
                raise SourceError(
                    f"{path}: its folder {part!r} names a column that is also in the file, and would hide it. "
                    "Rename the folder"
                )
        if folder_values(path, root) and (above := [part for part in root.parts if "=" in part]):
            raise SourceError(f"{path}: the folder {above[0]!r} above it would be read as a column. Rename the folder")
