"""Restrict what is written to the user that runs this, and to the group of AMERICANO_GROUP."""

# Set the umask, because the libraries (DuckDB, MLflow, Dagster, sqlite) choose the modes of most files. Also close the
# folders at the top, so that files of earlier releases, or of programs under another umask, cannot be reached. Only
# what has the names of this project is closed: a folder that holds anything else stays as it is.

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from americano_pipelines.settings import DataFolder, Settings, group_id
from americano_pipelines.settings.paths import API_KEYS, DEMO_SERVER, PSEUDONYM_KEY

_OWNER_ONLY, _GROUP_READS = 0o077, 0o027


def restrict(group: str | None) -> None:
    """Set the umask of this process: new files are its user's alone, or a group may read them too."""
    os.umask(_umask(group))


def protect(settings: Settings) -> None:
    """Set the umask, make the data folder, and close it and its top level to others.

    Cheap enough for every session: it reads one level. What has another group gets the new one once, with everything
    below it; new files inherit it.
    """
    restrict(settings.americano_group)
    settings.paths.root.mkdir(parents=True, exist_ok=True)
    group = group_id(settings.americano_group) if settings.americano_group else None
    for root in _roots(settings.paths):
        entries, is_ours = _entries(root, settings)
        for path in entries:
            with suppress(FileNotFoundError):
                for inner in _below(path) if group is not None and path.lstat().st_gid != group else ():
                    _close(inner, group)
            _close(path, group)
        if is_ours:
            _close(root, group, passable=_is_passed_by_server(root, settings.paths))


def open_to_others(settings: Settings) -> list[Path]:
    """Files and folders that other users may read or enter although they should be closed, for `americano doctor`."""
    allowed = 0o750 if settings.americano_group else 0o700
    open_paths = []
    for root in _roots(settings.paths):
        for path in (root, *_entries(root, settings)[0]):
            passable = stat.S_IXOTH if _is_passed_by_server(path, settings.paths) else 0
            if stat.S_IMODE(path.lstat().st_mode) & 0o777 & ~(allowed | passable):
                open_paths.append(path)
    return open_paths


def file_mode(group: str | None) -> int:
    """The mode of a file that is written once and never changed."""
    return 0o444 & ~_umask(group)


def _umask(group: str | None) -> int:
    return _GROUP_READS if group else _OWNER_ONLY


def _roots(paths: DataFolder) -> list[Path]:
    """The data folder and the folders that settings may place elsewhere, if they exist."""
    return [folder for folder in paths.own_names if folder.is_dir()]


def _entries(root: Path, settings: Settings) -> tuple[list[Path], bool]:
    """What to close in one of these folders, and whether the folder is ours: nothing in it is of other programs.

    External files that are delivered into it are closed with it, but in a folder of other programs they are left alone.
    """
    own_names = settings.paths.own_names[root]
    delivered_names = [place.relative_to(root).parts[0] for place in settings.outside_places if root in place.parents]
    own, delivered, is_ours = [], [], True
    for path in root.iterdir():
        if any(fnmatchcase(path.name, name) for name in own_names):
            own.append(path)
        elif any(fnmatchcase(path.name, name) for name in delivered_names):
            delivered.append(path)
        else:
            is_ours = False
    # The demo's server has a user of its own, and its folder must stay that user's.
    entries = [path for path in own + (delivered if is_ours else []) if path.name != DEMO_SERVER]
    return entries, is_ours


def _below(path: Path) -> Iterable[Path]:
    return path.rglob("*") if path.is_dir() and not path.is_symlink() else ()


def _close(path: Path, group: int | None, *, passable: bool = False) -> None:
    # Removed meanwhile, or of another user, who alone may change it: `doctor` names such a path.
    with suppress(FileNotFoundError, PermissionError):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) or stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            return
        # The key is never the group's: with it, learners are known also in extracts that leave this machine. Nor are
        # the cards of the API's keys, which say who sees what.
        file_group = None if path.name == PSEUDONYM_KEY or API_KEYS in {path.name, path.parent.name} else group
        if file_group is not None and status.st_gid != file_group:
            os.chown(path, -1, file_group)
        mode = stat.S_IMODE(status.st_mode)
        if mode & stat.S_ISVTX:
            return  # a folder for everybody, such as /tmp: none that this project makes is one
        if stat.S_ISDIR(status.st_mode):
            # New files inherit the group by the set-group-id bit. A folder that its owner closed stays closed.
            private_mode = (mode & 0o700) | (0 if file_group is None else 0o2050)
        else:
            private_mode = mode & (0o700 if file_group is None else 0o750)
            private_mode |= 0 if file_group is None else 0o040
        private_mode |= stat.S_IXOTH if passable else 0
        if mode != private_mode:
            path.chmod(private_mode)


def _is_passed_by_server(path: Path, paths: DataFolder) -> bool:
    """Whether the demo's server has to pass through this folder; under root it runs as a user of its own."""
    return path == paths.root and os.geteuid() == 0 and paths.demo_server.is_dir()
