"""Putting a finished file in its place, and which earlier ones are kept.

Here belong the folders and the link. The published name is a relative link to a file in a folder of its
own: a process that sits in the old file, even read-write, neither stops the new one nor is disturbed, and
its write-ahead log lies beside the old file, where no reader of the new one finds it.
"""

import glob
import os
import shutil
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from americano_pipelines import durable
from americano_pipelines.errors import PublishError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.document import SIDECAR, Document

_BUILDING = ".building"
_REMOVING = ".removing-"


def _building_dir(settings: Settings) -> Path:
    # Named by the file: another published name may share the folder.
    return snapshots_dir(settings) / f"{_BUILDING}-{file_name(settings)}"


def snapshots_dir(settings: Settings) -> Path:
    """Where published files lie, each in a folder named by its snapshot id."""
    return settings.published_path.parent / "snapshots"


def file_name(settings: Settings) -> str:
    """The stem of the link: a client names the catalog after the file, which is then the same both ways."""
    return settings.published_path.name


def prepare(settings: Settings, snapshot_id: str) -> Path:
    """Make an empty folder to build in, sweeping what interrupted builds left.

    Returns:
        The path of the file to build.

    Raises:
        PublishError: the published name is taken by something that is not our link.
    """
    link = settings.published_path
    if link.exists() and not link.is_symlink():
        raise PublishError(
            f"{link} is a file of its own, not the link this project publishes by. Nothing was touched: "
            "move it away, or set DUCKDB_DB_PATH to another name"
        )
    discard(settings)
    building = _building_dir(settings)
    (building / snapshot_id).mkdir(parents=True)
    return building / snapshot_id / file_name(settings)


def publish(settings: Settings, built: Path, document: Document) -> tuple[Path, Document]:
    """Make a finished, closed file the published one.

    Args:
        settings: where the link lies and how many files are kept.
        built: the file in its building folder, as `prepare` gave it.
        document: its record; size and hash are added here.

    Returns:
        The path of the file in its final place, and its complete record.
    """
    durable.sync_file(built)
    size = built.stat().st_size
    complete = document.model_copy(
        update={"bytes": size, "sha256": durable.sha256(built), "fresh_bytes": document.fresh_bytes or size}
    )
    durable.write_text(built.parent / SIDECAR, complete.model_dump_json(indent=1))
    place = snapshots_dir(settings) / document.snapshot_id
    durable.move(built.parent, place)
    durable.swap_link(settings.published_path, place / built.name)
    # From here on it is published. What cannot be tidied up now is tidied up by the next one.
    with suppress(OSError):
        discard(settings)
        _sweep(settings)
    return place / built.name, complete


def discard(settings: Settings) -> None:
    """Remove whatever a build left that was not published."""
    durable.remove(_building_dir(settings))
    for leftover in snapshots_dir(settings).glob(f"{_REMOVING}*"):
        durable.remove(leftover)
    link = settings.published_path
    for aside in link.parent.glob(f".{glob.escape(link.name)}.*"):
        if aside.is_symlink():
            aside.unlink()  # a link that was made and not yet swapped when its process was killed


def as_published(path: Path, document: Document) -> bool:
    """Whether nobody wrote to a published file: its bytes are the same and no write-ahead log lies beside it.

    Whoever opens the file replays such a log, so its rows would be read although the bytes are untouched.
    """
    log = path.with_name(f"{path.name}.wal")
    return not log.exists() and path.stat().st_size == document.bytes and durable.sha256(path) == document.sha256


def copy_of_published(settings: Settings, path: Path, document: Document) -> Path | None:
    """A copy of a published file to build from; None when it no longer has the bytes it was published with.

    A copy, because a process that holds the file read-write lets nobody else open it, and because its
    write-ahead log stays behind.
    """
    copy = _building_dir(settings) / "published_before.duckdb"
    shutil.copyfile(path, copy)
    return copy if durable.sha256(copy) == document.sha256 else None


def snapshots(settings: Settings) -> list[Path]:
    """Folders of the files published under this name, oldest first; whatever else lies there is not ours."""
    name = file_name(settings)
    return sorted(
        path.parent for path in snapshots_dir(settings).glob(f"[!.]*/{SIDECAR}") if (path.parent / name).is_file()
    )


def current(settings: Settings) -> Path | None:
    """The file that the link means at this moment, None when nothing was published yet."""
    link = settings.published_path
    if not link.is_symlink():
        return None
    resolved = Path(os.path.realpath(link))
    return resolved if resolved.is_file() else None


def read_document(settings: Settings) -> Document | None:
    """The record of the published file, None when nothing is published or the record is not readable."""
    now = current(settings)
    return document_beside(now) if now else None


def document_beside(path: Path) -> Document | None:
    """The record beside a published file, None when there is none that can be read."""
    try:
        return Document.model_validate_json((path.parent / SIDECAR).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return None


def _sweep(settings: Settings) -> None:
    """Keep the newest files as configured; the current one always stays, and is the newest.

    So whatever sorts after it is older: a clock that ran ahead, or was set back since, gave it its name.
    """
    now = current(settings)
    others = [folder for folder in snapshots(settings) if now is None or not folder.samefile(now.parent)]
    if now is not None:
        others.sort(key=lambda folder: (folder.name <= now.parent.name, folder.name))
    for folder in others[: max(0, len(others) - (settings.americano_snapshots_kept - 1))]:
        remove_snapshot(folder)


def remove_snapshot(folder: Path) -> None:
    """Remove a published file's folder; whoever is killed meanwhile leaves it under a name that `discard` knows."""
    aside = folder.with_name(f"{_REMOVING}{folder.name}")
    durable.move(folder, aside)
    durable.remove(aside)
