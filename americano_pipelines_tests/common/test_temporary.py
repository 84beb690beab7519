"""Temporary folders: private, removed at the end, and swept only after their process has ended."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from americano_pipelines.common.leftovers import sweep_leftovers
from americano_pipelines.common.temporary_folders import (
    has_owner,
    held_file,
    is_held,
    reader_temporary_folder,
    sweep,
    temporary_folder,
)
from americano_pipelines.settings import Settings

NAME = ".tmp-spill-0123456789abcdef"
OWNER = """
import sys
from pathlib import Path
from americano_pipelines.common.temporary_folders import temporary_folder
with temporary_folder(Path(sys.argv[1]), "spill") as folder:
    (folder / "rows").write_text("of a learner")
    print(folder, flush=True)
    sys.stdin.readline()
"""


def owner(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A process that has a temporary folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_gone_with_its_block(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with temporary_folder(tmp_path / "tmp", "copy") as folder:
            (folder / "rows").write_text("x")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tmp").iterdir()}
            assert sorted(modes.values()) == [0o600, 0o700]
            assert modes[folder.name] == 0o700
    finally:
        os.umask(before)

    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_killed_owners_folder_is_swept_and_a_living_ones_is_left(tmp_path: Path) -> None:
    parent = tmp_path / "tmp"
    process, folder = owner(parent)
    with temporary_folder(parent, "spill") as own:
        assert sweep(parent) == sorted([folder, own])

        process.kill()
        process.communicate()
        assert (folder / "rows").exists()
        assert sweep(parent) == [own]
        assert own.is_dir()
        assert not folder.exists()
    assert list(parent.iterdir()) == []


def test_a_lock_is_taken_over_by_a_descriptor_that_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS makes byte-range locks of flock: an exclusive one needs a descriptor for writing, or ends with EBADF."""
    lock = fcntl.flock

    def lock_as_on_nfs(descriptor: int, operation: int) -> None:
        for needed, modes in (
            (fcntl.LOCK_EX, (os.O_WRONLY, os.O_RDWR)), (fcntl.LOCK_SH, (os.O_RDONLY, os.O_RDWR))
        ):  # fmt: skip
            if operation & needed and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE not in modes:
                raise OSError(errno.EBADF, "Bad file descriptor")
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_as_on_nfs)
    (tmp_path / ".tmp-spill-0123456789abcdef").mkdir()
    (tmp_path / ".tmp-spill-0123456789abcdef.owner").touch()
    with temporary_folder(tmp_path, "spill") as own:
        assert sweep(tmp_path) == [own]
        assert has_owner(own)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_who_cannot_write_there_has_a_private_folder_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with reader_temporary_folder(tmp_path / "file", "download") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()
    with reader_temporary_folder(tmp_path / "tmp", "download") as folder:
        assert folder.parent == tmp_path / "tmp"


def test_other_files_beside_temporary_folders_stay(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".tmp-aside-0123456789abcdef").mkdir()
    (tmp_path / ".tmp-aside-0123456789abcdef" / "manifest.json").touch()

    assert sweep(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", ".hidden"}


def test_what_has_no_lock_file_has_no_owner(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "rows").touch()
    (tmp_path / ".tmp-copy-0123456789abcdef.owner").touch()  # killed before it made its folder

    assert sweep(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert sweep(tmp_path / "none") == []


@pytest.mark.parametrize("linked", [False, True])
def test_a_sync_removes_only_its_own_files_from_the_spill_folder(
    tmp_path: Path, settings_for: Callable[..., Settings], *, linked: bool
) -> None:
    settings = settings_for()
    folder = settings.paths.spill
    if linked:
        folder = tmp_path / "scratch"
        settings.paths.spill.parent.mkdir(parents=True, exist_ok=True)
        settings.paths.spill.symlink_to(folder)
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "rows").touch()
    (folder / "mine").mkdir(parents=True)
    (folder / ".tmp-link-0123456789abcdef").symlink_to(tmp_path / "others")
    (folder / NAME).mkdir()
    theirs = {"mine/thesis.txt", "a.parquet", ".tmp-notes", ".tmp-spill-0.owner", "duckdb_temp.md"}
    spilled = {"duckdb_temp_storage_DEFAULT-0.tmp", "duckdb_temp_block-7.block"}
    for name in (*theirs, *spilled, f"{NAME}/rows"):
        (folder / name).write_text("x")

    assert sweep_leftovers(settings.paths) == []

    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    assert left == theirs | (spilled if linked else set())
    assert (tmp_path / "others" / "rows").exists()


def test_sweeping_never_takes_a_folder_that_is_just_being_made(tmp_path: Path) -> None:
    done = threading.Event()

    def keep_sweeping() -> None:
        while not done.is_set():
            sweep(tmp_path)

    sweepers = [threading.Thread(target=keep_sweeping) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        for _ in range(300):
            with temporary_folder(tmp_path, "spill") as folder:
                (folder / "rows").write_text("x")
                sweep(tmp_path)
                assert (folder / "rows").read_text() == "x"
    finally:
        done.set()
        for sweeper in sweepers:
            sweeper.join()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_recreated_during_a_sweep_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, lock = tmp_path / NAME, tmp_path / f"{NAME}.owner"
    lock.touch()
    lock_file = fcntl.flock

    with ExitStack() as owner:

        def lock_later(descriptor: int, operation: int) -> None:
            if operation & fcntl.LOCK_NB and not folder.exists():
                # Another sweep removes the lock of a maker that has not locked it yet, and the maker makes it anew.
                lock.unlink()
                owner.enter_context(held_file(lock))
                folder.mkdir()
            lock_file(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", lock_later)
        assert sweep(tmp_path) == [folder]
        assert is_held(lock)


def test_a_lock_that_is_made_while_a_sweep_finds_none_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lock = tmp_path / NAME, tmp_path / f"{NAME}.owner"
    folder.mkdir()
    open_file = os.open

    with ExitStack() as owner:

        def open_before(path: Path, flags: int, mode: int = 0o777) -> int:
            try:
                return open_file(path, flags, mode)
            except FileNotFoundError:
                monkeypatch.undo()
                owner.enter_context(held_file(lock))
                raise

        monkeypatch.setattr(os, "open", open_before)
        assert sweep(tmp_path) == [folder]
        assert is_held(lock)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_what_may_not_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "rows").touch()
    (tmp_path / "folder").chmod(0o500)
    try:
        assert sweep(tmp_path) == [tmp_path / "folder"]
    finally:
        (tmp_path / "folder").chmod(0o700)


def test_a_held_file_is_gone_with_its_block_and_is_never_shared(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    assert not is_held(path)
    with held_file(path):
        assert is_held(path)
        with pytest.raises(FileExistsError), held_file(path):
            pass
        assert is_held(path)
    assert list(tmp_path.iterdir()) == []
