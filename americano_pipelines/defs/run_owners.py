"""Mark a process that executes runs as alive, by a file in the Dagster home that it holds locked."""

# A host's name and a process id are not enough: a container that is started anew has another name, and its processes
# have the same ids. The operating system releases the lock when the process ends, however it ends.

import atexit
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

import psutil

from americano_pipelines.common import atomic_files
from americano_pipelines.common.temporary_folders import held_file, is_held, sweep
from americano_pipelines.defs.run_tags import BOOT_TAG, HOME_TAG, NAMESPACE_TAG, OWNER_TAG

NO_OWNER = "none"
_FOLDER, _SUFFIX = "processes", ".owner"
_SIGNS = re.compile("[0-9a-f]{16}")
# File systems whose locks do not reach other machines, or only as they happen to be set up.
_LOCKS_UNKNOWN = frozenset({"cifs", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "afs", "lustre", "unknown"})
_LOCKS_ACROSS_MACHINES = frozenset({"nfs", "nfs4", "ceph"})

# Held until this process ends, by process (a forked one holds none of its parent's) and folder.
_held: dict[tuple[int, Path], tuple[str, ExitStack, int]] = {}


def owner_tags(home: Path) -> dict[str, str]:
    """Tags that name this process by its lock file in a Dagster home, which is made at the first call."""
    folder = home / _FOLDER
    if (os.getpid(), folder) not in _held:
        folder.mkdir(parents=True, exist_ok=True)
        name, stack = f"{secrets.token_hex(8)}{_SUFFIX}", ExitStack()
        descriptor = stack.enter_context(held_file(folder / name))
        _held[os.getpid(), folder] = name, stack, descriptor
    return place_tags(home) | {OWNER_TAG: _held[os.getpid(), folder][0]}


def place_tags(home: Path) -> dict[str, str]:
    """Tags of a process without a lock file: the home of the run, and the numbering that a process id belongs to."""
    return {OWNER_TAG: NO_OWNER, HOME_TAG: _identity(home), BOOT_TAG: boot(), NAMESPACE_TAG: _namespace()}


def is_gone(home: Path, tags: Mapping[str, str]) -> bool | None:
    """Whether the process that these tags name has ended; None if its lock file cannot be checked from here."""
    if BOOT_TAG not in tags or HOME_TAG not in tags:
        return None
    own, recorded = _identity(home), tags[HOME_TAG]
    same_start = tags[BOOT_TAG] == boot()
    kind, options = _file_system(home)
    if (
        tags.get(OWNER_TAG, NO_OWNER) != NO_OWNER
        and own == recorded
        and (same_start or _locks_visible_across_machines(kind, options))
    ):
        with suppress(OSError):  # a file system without locks
            return not is_held(home / _FOLDER / tags[OWNER_TAG])
        return None
    # The home is on a disk of this machine, or is a copy of it: what wrote to it before this start has ended.
    same_home = own.partition(".")[0] == recorded.partition(".")[0]
    if (
        not same_start
        and same_home
        and kind not in _LOCKS_ACROSS_MACHINES
        and _locks_visible_across_machines(kind, options)
    ):
        return True
    return None


def counts_here(tags: Mapping[str, str]) -> bool:
    """Whether a process id in these tags belongs to this process's own numbering."""
    return tags.get(BOOT_TAG) == boot() and tags.get(NAMESPACE_TAG) == _namespace()


def sweep_lock_files(home: Path) -> None:
    """Remove the lock files of processes that have ended; a run whose lock file is missing counts as ended too."""
    with suppress(OSError):
        sweep(home / _FOLDER, _SIGNS)


@cache
def boot() -> str:
    """Identifies this machine and its last start."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else f"{psutil.boot_time():.0f}"


@cache
def _namespace() -> str:
    """Identifies the numbering that this process's id belongs to; a container has one of its own."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _identity(home: Path) -> str:
    """Identifies a home, also against a copy of it: a name that is written once, and the inode of its file."""
    file = home / ".americano_home"
    while True:
        with suppress(FileNotFoundError):
            return f"{file.read_text()}.{file.stat().st_ino}"
        home.mkdir(parents=True, exist_ok=True)
        atomic_files.create_text(file, secrets.token_hex(8))


def _file_system(path: Path) -> tuple[str, str]:
    """Kind and options of the file system that a path is on."""
    resolved = path.resolve()
    mounts = [m for m in psutil.disk_partitions(all=True) if resolved.is_relative_to(m.mountpoint)]
    deepest = max(mounts, key=lambda m: len(Path(m.mountpoint).parts), default=None)
    return (deepest.fstype, deepest.opts) if deepest else ("unknown", "")


def _locks_visible_across_machines(kind: str, options: str) -> bool:
    """Whether a lock that another machine holds is visible here, or no other machine can reach the file system."""
    if kind in _LOCKS_UNKNOWN or kind.startswith("fuse."):
        return False
    mount_options = set(options.split(","))
    return not mount_options & {"nolock", "local_lock=all", "local_lock=flock"}


def _release() -> None:
    for (pid, _), (_, stack, _) in list(_held.items()):
        if pid == os.getpid():
            stack.close()


def _drop_lock_after_fork() -> None:
    # The lock is the parent's: the child must not hold it after the parent's end, nor remove the file.
    for _, _, descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)


atexit.register(_release)
os.register_at_fork(after_in_child=_drop_lock_after_fork)
