"""Decide whether a path or a pattern can lead into a folder. Look at names only: the files may not exist yet."""

import glob
from fnmatch import fnmatch
from pathlib import Path

from americano_pipelines.errors import told_by_system


def leads_into(location: Path, folder: Path) -> bool:
    """Whether a file, folder or glob means files inside a folder; symbolic links and `..` are followed.

    Args:
        location: absolute; a folder stands for everything below it.
        folder: the folder that must stay out of reach.
    """
    wild = next((i for i, part in enumerate(location.parts) if glob.has_magic(part)), None)
    if wild is None or location.exists():
        start, pattern = location.resolve(), location.parts[:0]
    else:
        start, pattern = Path(*location.parts[:wild]).resolve(), location.parts[wild:]
    inner = folder.resolve()
    if start.is_relative_to(inner):
        return True
    if not inner.is_relative_to(start):
        return False
    return not pattern or _descends(pattern, inner.relative_to(start).parts)


def why_no_folder(path: Path) -> str | None:
    """Why a path can never be a folder; None where it is one, or may become one.

    Whether this user may create it is tried by `americano doctor`.
    """
    for place in (path, *path.parents):
        try:
            if place.is_dir():
                return None
            if place.exists():
                return f"{place} is a file, not a folder"
            if place.is_symlink():
                return f"{place} is a link that leads nowhere"
        except PermissionError:
            return None
        except OSError as error:
            return told_by_system(error, place)
    return None


def _descends(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether a pattern continues below the folder of these parts."""
    if not pattern or not parts:
        return bool(pattern)
    if pattern[0] == "**":
        return True
    return fnmatch(parts[0], pattern[0]) and _descends(pattern[1:], parts[1:])
