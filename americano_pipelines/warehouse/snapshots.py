"""Publish a finished file, keep the earlier ones, and open the published one for reading."""

# The published name is a relative link to a file in a folder of its own. A process that has the old file open, even
# read-write, neither blocks the new one nor is disturbed, and its write-ahead log lies beside the old file, where
# readers of the new one do not replay it.

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
from pydantic import ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.duckdb_session import connect_to_read
from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.errors import PublishError, UnreadableRecordError, WarehouseUnavailableError
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.settings.paths import SNAPSHOT_RECORD
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

WAIT_SECONDS = 8.0
PREVIEW_ROWS = 5
_POLL_SECONDS = 0.25

# Whether the folder of an earlier file may be removed; if not, it stays until the next publication.
MayRemove = Callable[[Path], bool]


@contextmanager
def open_published(settings: Settings, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published file read-only for the block.

    The resolved path is opened, not the link: what is published meanwhile does not change what the block reads.

    Raises:
        WarehouseUnavailableError: nothing is published, or a process holds the file read-write.
    """
    deadline = time.monotonic() + wait_seconds
    with ExitStack() as sessions:
        while True:
            path = current(settings.paths)
            if path is None:
                raise WarehouseUnavailableError(
                    f"nothing is published at {settings.paths.published} yet; run `americano sync` first"
                )
            try:
                connection = sessions.enter_context(connect_to_read(settings, path))
                break
            except duckdb.IOException as error:
                if not path.exists() and path != current(settings.paths):
                    continue  # between the two lines above a sync published another file and swept this one
                if "lock" not in str(error).lower():
                    raise WarehouseUnavailableError(f"{path} cannot be opened: {error}") from None
                if time.monotonic() > deadline:
                    raise WarehouseUnavailableError(
                        f"{path} is held read-write by another process; open it with -readonly there. {error}"
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield connection


def record_of(connection: duckdb.DuckDBPyConnection) -> SnapshotRecord | None:
    """The record inside an open published file, None when it has none that can be read."""
    try:
        row = connection.execute("SELECT document FROM meta.snapshot").fetchone()
        return SnapshotRecord.model_validate_json(row[0]) if row else None
    except (duckdb.CatalogException, ValidationError):
        return None


def preview(
    connection: duckdb.DuckDBPyConnection, relation: str, parameters: list[Any] | None = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and the first few rows of a relation, for people to look at."""
    cursor = connection.execute(f"FROM {relation} LIMIT {PREVIEW_ROWS}", parameters or [])
    return [str(column[0]) for column in cursor.description or ()], cursor.fetchall()


def file_name(paths: DataFolder) -> str:
    """The stem of the link: a client names the catalog after the file, which is then the same both ways."""
    return paths.published.name


@contextmanager
def building(paths: DataFolder, snapshot_id: str) -> Iterator[Path]:
    """Make a temporary folder to build in for the block.

    Yields:
        The path of the file to build.

    Raises:
        PublishError: another file has the published name.
    """
    link = paths.published
    if link.exists() and not link.is_symlink():
        raise PublishError(
            f"{link} is a file of its own, not the link this project publishes by. Nothing was touched: "
            "move it away, or set DUCKDB_DB_PATH to another name"
        )
    with temporary_folder(paths.snapshots, "building") as folder:
        (folder / snapshot_id).mkdir()
        yield folder / snapshot_id / file_name(paths)


def publish(
    settings: Settings, built: Path, document: SnapshotRecord, may_remove: MayRemove | None = None
) -> tuple[Path, SnapshotRecord]:
    """Make a finished, closed file the published one.

    Args:
        settings: where the link lies and how many files are kept.
        built: the file in its temporary folder, as `building` gave it.
        document: its record; size and hash are added here.
        may_remove: asked before each earlier file is removed; None removes all that are too many.

    Returns:
        The path of the file in its final place, and its complete record.
    """
    atomic_files.sync_file(built)
    size = built.stat().st_size
    complete = document.model_copy(
        update={"bytes": size, "sha256": file_sha256(built), "fresh_bytes": document.fresh_bytes or size}
    )
    atomic_files.write_text(built.parent / SNAPSHOT_RECORD, complete.model_dump_json(indent=1))
    snapshot_folder = settings.paths.snapshots / document.snapshot_id
    atomic_files.move(built.parent, snapshot_folder)
    atomic_files.swap_link(settings.paths.published, snapshot_folder / built.name)
    # From here on it is published. The next sync removes what cannot be removed now.
    with suppress(OSError):
        _sweep(settings, may_remove)
    return snapshot_folder / built.name, complete


def as_published(path: Path, document: SnapshotRecord) -> bool:
    """Whether a published file is unchanged: its size, its bytes and what lies beside it."""
    return path.stat().st_size == document.bytes and is_intact(path, document.sha256)


def is_intact(path: Path, sha256: str) -> bool:
    """Whether a file is there with these bytes, and no write-ahead log lies beside it.

    Opening the file replays such a log, so its rows would be read although the bytes are the same.
    """
    log = path.with_name(f"{path.name}.wal")
    return path.is_file() and not log.exists() and file_sha256(path) == sha256


def copy_of_published(folder: Path, path: Path, document: SnapshotRecord) -> Path | None:
    """A copy of a published file to build from; None when it no longer has the bytes it was published with.

    A copy, because a process that holds the file read-write locks it, and because its write-ahead log stays behind.

    Args:
        folder: the temporary folder to copy it to.
        path: the published file.
        document: its record.
    """
    copy = folder / "published_before.duckdb"
    shutil.copyfile(path, copy)
    return copy if file_sha256(copy) == document.sha256 else None


def snapshots(paths: DataFolder) -> list[Path]:
    """Folders of the files published under this name, oldest first; other entries are not ours."""
    name = file_name(paths)
    return sorted(
        path.parent for path in paths.snapshots.glob(f"[!.]*/{SNAPSHOT_RECORD}") if (path.parent / name).is_file()
    )


def current(paths: DataFolder) -> Path | None:
    """The file that the link leads to at this moment, None when nothing was published yet."""
    link = paths.published
    if not link.is_symlink():
        return None
    resolved = Path(os.path.realpath(link))
    return resolved if resolved.is_file() else None


def read_record(paths: DataFolder) -> SnapshotRecord | None:
    """The record of the published file, None when nothing is published.

    Raises:
        UnreadableRecordError: it is missing, empty or malformed.
    """
    published = current(paths)
    return record_beside(published) if published else None


def record_beside(path: Path) -> SnapshotRecord:
    """The record beside a published file.

    Raises:
        UnreadableRecordError: it is missing, empty or malformed.
    """
    record = path.parent / SNAPSHOT_RECORD
    try:
        return SnapshotRecord.model_validate_json(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = "is missing"
    except (ValidationError, UnicodeDecodeError):
        problem = "is no record of this version"
    raise UnreadableRecordError(
        f"{record} {problem}, so the content of {path.name} beside it is unknown; the next `americano sync` publishes "
        "another file"
    )


def _sweep(settings: Settings, may_remove: MayRemove | None) -> None:
    """Keep the newest files as configured; the current one always stays, and is the newest.

    A name that sorts after it is older: it comes from a clock that ran ahead or was set back since.
    """
    published = current(settings.paths)
    folders = snapshots(settings.paths)
    if published is not None:
        newest = published.parent.name
        folders = sorted(
            (folder for folder in folders if not folder.samefile(published.parent)),
            key=lambda folder: (folder.name <= newest, folder.name),
        )
    for folder in folders[: max(0, len(folders) - (settings.americano_snapshots_kept - 1))]:
        if may_remove is None or may_remove(folder):
            remove_snapshot(folder)


def remove_snapshot(folder: Path) -> None:
    """Remove a published file's folder; when this process is killed meanwhile, the next sweep removes the rest."""
    with temporary_folder(folder.parent, "removed") as aside:
        atomic_files.move(folder, aside / folder.name)
        atomic_files.remove(aside / folder.name)
