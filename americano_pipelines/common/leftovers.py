"""Remove the temporary folders that ended processes left, in every folder that this project writes to."""

import re
from pathlib import Path

from americano_pipelines.common.temporary_folders import NAMES, has_owner, sweep, temporary_folders
from americano_pipelines.settings import DataFolder

# Earlier releases let DuckDB spill into the folder itself.
_SPILLED = re.compile(rf"{NAMES.pattern}|duckdb_temp_(?:storage_\w+-\d+\.tmp|block-\d+\.block)")


def sweep_leftovers(paths: DataFolder) -> list[Path]:
    """Remove the leftovers of ended processes: spilled rows, copies, unfinished files and builds.

    Costs one listing of each folder, so every sync can begin with it.

    Returns:
        The temporary folders that remain: those in use, and those that this user may not remove.
    """
    return [path for folder, names in _folders(paths) for path in sweep(folder, names)]


def find_leftovers(paths: DataFolder) -> dict[Path, bool]:
    """Every temporary folder, and whether the process that made it is alive."""
    return {path: has_owner(path) for folder, names in _folders(paths) for path in temporary_folders(folder, names)}


def _folders(paths: DataFolder) -> list[tuple[Path, re.Pattern[str]]]:
    """Folders that temporary folders are made in, with the names that ended processes may have left there."""
    # Behind a link, DuckDB's own files may be those of another program that spills to the same disk.
    spilled = NAMES if paths.spill.is_symlink() else _SPILLED
    return [(paths.spill, spilled), *((folder, NAMES) for folder in paths.temporary_parents)]
