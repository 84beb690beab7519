"""Write each file as a whole or not at all, also when the machine crashes.

Sync a file before it is renamed: a rename that reaches the disk before the bytes leaves an empty file after a power
cut.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from americano_pipelines.common.temporary_folders import temporary_folder


def new_id() -> str:
    """An identifier that sorts by time: `20261124T020000Z-3fa9c2d1`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# A folder is synced the same way: the renames in it are its bytes.
sync_folder = sync_file


def remove_durably(path: Path) -> None:
    """Remove a file, if it is there, so that it stays removed after a power cut."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename a finished file or folder to its place, durably; an existing file is replaced."""
    if source.is_file():
        sync_file(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    sync_folder(target.parent)


@contextmanager
def atomic_write_path(path: Path) -> Iterator[Path]:
    """Yield a path to write a file at; after the block the file gets its name, or nothing is left of it on an error."""
    with temporary_folder(path.parent, "aside") as folder:
        aside = folder / path.name
        yield aside
        move(aside, path)


def write_text(path: Path, text: str) -> None:
    """Replace a small text file as a whole."""
    with atomic_write_path(path) as aside:
        aside.write_text(text, encoding="utf-8")


def create_text(path: Path, text: str) -> bool:
    """Write a small text file, for its owner only, unless there is one.

    Returns:
        Whether it was written; False when the file was there, or another process was faster.
    """
    with temporary_folder(path.parent, "aside") as folder:
        aside = folder / path.name
        aside.touch(mode=0o600)
        aside.write_text(text, encoding="utf-8")
        sync_file(aside)
        try:
            path.hardlink_to(aside)  # unlike a rename, it does not replace the file of another process
        except FileExistsError:
            return False
        sync_folder(path.parent)
    return True


def swap_link(link: Path, target: Path) -> None:
    """Point a symbolic link at another target, by its relative path, in one step."""
    with temporary_folder(link.parent, "aside") as folder:
        aside = folder / link.name
        aside.symlink_to(os.path.relpath(target, link.parent))
        aside.replace(link)
    sync_folder(link.parent)


def try_writing(folder: Path) -> None:
    """Write a small file into a folder and remove it; the folder is made if it is missing.

    Raises:
        OSError: it cannot be.
    """
    with temporary_folder(folder, "try") as aside:
        path = aside / "try"
        path.write_bytes(b"\0")
        sync_file(path)


def remove(path: Path) -> None:
    """Remove a file, link or folder, whichever it is, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
