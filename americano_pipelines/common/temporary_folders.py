"""Make temporary folders that have an owner, and remove those whose owner has ended."""

# A lock (flock) on a file beside the folder marks its owner: the operating system releases it when the process ends,
# even when the process is killed. A process id would not do: it is reused, and another container that shares the folder
# does not know it. The lock file is made before the folder and removed after it, so a folder without one has no owner.
# On a network file system this holds as far as its locks reach other hosts (NFS: yes, unless mounted with `nolock` or
# `local_lock`).

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_LOCK = ".owner"
_PREFIX = ".tmp-"
NAMES = re.compile(rf"{re.escape(_PREFIX)}[a-z]+-[0-9a-f]{{16}}")
"""The names of temporary folders. Other names may belong to other programs, whose folders may be linked
here."""


@contextmanager
def temporary_folder(parent: Path, purpose: str) -> Iterator[Path]:
    """Make an empty private folder for the block, removed at its end; after a kill by the next `sweep` of the parent.

    Args:
        parent: where to make it; its files can be renamed into `parent` in one step.
        purpose: a part of its name, for people.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{_PREFIX}{purpose}-{secrets.token_hex(8)}"
    with held_file(_lock_of(folder)):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def reader_temporary_folder(parent: Path, purpose: str) -> Iterator[Path]:
    """Make a folder as `temporary_folder`; where this user cannot write in `parent`, a private one of the system's."""
    with ExitStack() as folders:
        try:
            folder = folders.enter_context(temporary_folder(parent, purpose))
        except OSError:
            folder = Path(folders.enter_context(tempfile.TemporaryDirectory()))
        yield folder


@contextmanager
def held_file(path: Path) -> Iterator[int]:
    """Make a file that is locked for the block, the sign that its process is alive; removed at the end.

    Yields:
        Its descriptor, open for writing.
    """
    descriptor = _made_and_locked(path)
    try:
        yield descriptor
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether the maker of a held file is alive; True also when this user may not ask."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def sweep(parent: Path, names: re.Pattern[str] = NAMES) -> list[Path]:
    """Remove the temporary folders in a folder that have no owner.

    Args:
        parent: where they are.
        names: whole names of what has a lock file beside it, or may have had; everything else stays.

    Returns:
        What is left: folders in use, and what this user may not remove.
    """
    folders = temporary_folders(parent, names)
    for folder in folders:
        with suppress(BlockingIOError, PermissionError), _lock_of_a_dead_owner(_lock_of(folder)):
            _remove(folder)
    return [folder for folder in folders if os.path.lexists(folder)]


def temporary_folders(parent: Path, names: re.Pattern[str] = NAMES) -> list[Path]:
    """The temporary folders in a folder, in use or not; arguments as of `sweep`."""
    entries = parent.iterdir() if parent.is_dir() else ()
    # A lock file alone: its process was killed before it made the folder, or after it removed it.
    folders = {path.with_name(path.name.removesuffix(_LOCK)) for path in entries}
    return sorted(folder for folder in folders if names.fullmatch(folder.name))


def has_owner(folder: Path) -> bool:
    """Whether the process that made a temporary folder is alive; True also when this user may not ask."""
    return is_held(_lock_of(folder))


@contextmanager
def _lock_of_a_dead_owner(path: Path) -> Iterator[None]:
    """Take over the lock file for the block, and remove it at the end.

    It is removed while locked: an owner that is about to lock it then sees that it is gone.

    Raises:
        BlockingIOError: its owner is alive; PermissionError: this user may not ask.
    """
    descriptor = _opened_or_made(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(descriptor).st_nlink:
            # Another sweep removed it meanwhile, and its owner has made it again: happened with one of 300 folders.
            raise BlockingIOError
        yield
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _opened_or_made(path: Path) -> int:
    """Open the lock file; make it where there is none, so that its maker cannot make it while the folder is removed."""
    try:
        # Not read-only: NFS refuses an exclusive lock on such a descriptor with EBADF.
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise BlockingIOError from None


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _made_and_locked(path: Path) -> int:
    """Make the lock file and lock it.

    Raises:
        FileExistsError: there is one.
    """
    lost = False
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if lost:  # a sweep has made it, and is about to remove it
                continue
            raise
        # A sweep may take the lock, and remove the file, between these two lines.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
        lost = True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):  # another process sweeps too
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
