"""Remove the temporary folders that ended processes left, in every folder that this project writes to."""

from pathlib import Path

from americano_pipelines.common.temporary_folders import PATTERN, has_owner, sweep, temporary_folders
from americano_pipelines.settings import DataFolder


def sweep_leftovers(paths: DataFolder) -> list[Path]:
    """Remove the leftovers of ended processes: spilled rows, copies, unfinished files and builds.

    Costs one listing of each folder, so every sync can begin with it.

    Returns:
        The temporary folders that remain: those in use, and those that this user may not remove.
    """
    return [path for folder, pattern in _folders(paths) for path in sweep(folder, pattern)]


def find_leftovers(paths: DataFolder) -> dict[Path, bool]:
    """Every temporary folder, and whether the process that made it is alive."""
    return {path: has_owner(path) for folder, pattern in _folders(paths) for path in temporary_folders(folder, pattern)}


def _folders(paths: DataFolder) -> list[tuple[Path, str]]:
    """Folders that temporary folders are made in, with the pattern of their names."""
    # Nothing else belongs into the spill folder, so what DuckDB left there by itself goes too.
    return [(paths.spill, "*"), *((folder, PATTERN) for folder in paths.temporary_parents)]
