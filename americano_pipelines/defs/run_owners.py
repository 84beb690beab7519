"""Mark a process that executes runs as alive, by a file in the Dagster home that it holds locked.

A host's name and a process id do not tell: a container that is started anew has another name, and its processes the
same numbers. The operating system releases the lock when the process ends, however it ends. Only the sign belongs
here; what is done about a run without an owner is `run_processes.py`.
"""

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

# The file that the process holds; the home it lies in; and which start of which machine, and which numbering of its
# processes, a process id counts in.
OWNER_TAG, HOME_TAG = "americano/owner", "americano/home"
BOOT_TAG, NAMESPACE_TAG = "americano/boot", "americano/pid_namespace"
NO_OWNER = "none"
_FOLDER, _SUFFIX = "processes", ".owner"
_SIGNS = re.compile("[0-9a-f]{16}")
# File systems whose locks do not reach other machines, or only as they happen to be set up.
_LOCKS_UNKNOWN = frozenset({"cifs", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "afs", "lustre", "unknown"})
_LOCKS_REACH = frozenset({"nfs", "nfs4", "ceph"})

# Held until this process ends, by process (a forked one holds none of its parent's) and folder.
_held: dict[tuple[int, Path], tuple[str, ExitStack, int]] = {}


def owner_tags(home: Path) -> dict[str, str]:
    """Tags that name this process as an owner by its sign in a Dagster home, which is made the first time."""
    folder = home / _FOLDER
    if (os.getpid(), folder) not in _held:
        folder.mkdir(parents=True, exist_ok=True)
        name, stack = f"{secrets.token_hex(8)}{_SUFFIX}", ExitStack()
        descriptor = stack.enter_context(held_file(folder / name))
        _held[os.getpid(), folder] = name, stack, descriptor
    return place_tags(home) | {OWNER_TAG: _held[os.getpid(), folder][0]}


def place_tags(home: Path) -> dict[str, str]:
    """Tags that say where a process id counts, and which home a run belongs to, of a process without a sign."""
    return {OWNER_TAG: NO_OWNER, HOME_TAG: _identity(home), BOOT_TAG: boot(), NAMESPACE_TAG: _namespace()}


def is_gone(home: Path, tags: Mapping[str, str]) -> bool | None:
    """Whether the owner that these tags name has ended; None when that cannot be told from here by its sign."""
    if BOOT_TAG not in tags or HOME_TAG not in tags:
        return None
    own, theirs = _identity(home), tags[HOME_TAG]
    same_start = tags[BOOT_TAG] == boot()
    kind, options = _file_system(home)
    if tags.get(OWNER_TAG, NO_OWNER) != NO_OWNER and own == theirs and (same_start or _locks_reach(kind, options)):
        with suppress(OSError):  # a file system without locks
            return not is_held(home / _FOLDER / tags[OWNER_TAG])
        return None
    # A home on a disk of this machine, or a copy of it: whatever wrote there before the machine started has ended.
    same_home = own.partition(".")[0] == theirs.partition(".")[0]
    if not same_start and same_home and kind not in _LOCKS_REACH and _locks_reach(kind, options):
        return True
    return None


def counts_here(tags: Mapping[str, str]) -> bool:
    """Whether a process id in these tags counts in this process's own numbering."""
    return tags.get(BOOT_TAG) == boot() and tags.get(NAMESPACE_TAG) == _namespace()


def sweep_signs(home: Path) -> None:
    """Remove the signs of processes that have ended; a run whose sign is not there has no owner either."""
    with suppress(OSError):
        sweep(home / _FOLDER, _SIGNS)


@cache
def boot() -> str:
    """Which start of which machine this is."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else f"{psutil.boot_time():.0f}"


@cache
def _namespace() -> str:
    """Which numbering of processes this one is in; a container has one of its own."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _identity(home: Path) -> str:
    """What tells a home from others, and from a copy of itself: a name that is written once, and the file's number."""
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


def _locks_reach(kind: str, options: str) -> bool:
    """Whether a lock that another machine holds would be seen here, or no other machine can be."""
    if kind in _LOCKS_UNKNOWN or kind.startswith("fuse."):
        return False
    mount_options = set(options.split(","))
    return not mount_options & {"nolock", "local_lock=all", "local_lock=flock"}


def _let_go() -> None:
    for (pid, _), (_, stack, _) in list(_held.items()):
        if pid == os.getpid():
            stack.close()


def _forget_after_fork() -> None:
    # The lock is the parent's: it must not outlive it in a child, nor may the child take the file away.
    for _, _, descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)


atexit.register(_let_go)
os.register_at_fork(after_in_child=_forget_after_fork)
