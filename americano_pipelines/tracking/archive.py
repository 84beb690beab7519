"""Files that are written once and named by their hash: provenance records and extracts.

Here belongs keeping and reading them. A file whose bytes do not fit its name was tampered with, and says so when read.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from americano_pipelines import durable
from americano_pipelines.errors import RoomError, TamperedError
from americano_pipelines.settings import Settings


def records_dir(settings: Settings) -> Path:
    """Where provenance records lie."""
    return settings.data_dir / "provenance"


def extracts_dir(settings: Settings) -> Path:
    """Where extracts lie; they are kept although snapshots expire."""
    return settings.extracts_dir


def keep(folder: Path, content: bytes, mode: int = 0o400) -> tuple[Path, str]:
    """Write a content-addressed file, durably and read-only; one that is there already is left as it is.

    Args:
        folder: where.
        content: its bytes.
        mode: who may read it, see `access.file_mode`.

    Returns:
        Its path and the hash that is its name.

    Raises:
        TamperedError: a file of that name is there, but holds something else.
        RoomError: it cannot be written; nothing of it is left behind.
    """
    name = hashlib.sha256(content).hexdigest()
    path = folder / f"{name}.json"
    if path.exists():
        read(folder, name)
        return path, name
    aside = folder / f".{name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.chmod(mode)
        durable.move(aside, path)
    except OSError as error:
        raise RoomError(
            f"{path} cannot be written: {error.strerror}. Make room there, or let this user write there, and run this "
            "again"
        ) from error
    finally:
        # A part of an extract would be a copy of a learner's days that nothing looks for.
        with suppress(OSError):
            aside.unlink()
    return path, name


def read(folder: Path, sha256: str) -> bytes:
    """The content of a kept file.

    Raises:
        FileNotFoundError: there is none of that name.
        TamperedError: its bytes are not the ones it was named by, or it is a folder.
    """
    path = folder / f"{sha256}.json"
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        raise TamperedError(f"{path} was changed after it was written: it is a folder now") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise TamperedError(f"{path} was changed after it was written: its hash is {found} now")
    return content
