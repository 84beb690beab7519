"""Unpack a crate that somebody else made: only plain files, only below the folder, and not more than a limit."""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from americano_pipelines.errors import AnalysisError

# A crate has some hundred files and some megabytes.
_MAX_FILES, _MAX_BYTES = 10_000, 1 << 30
_BLOCK = 1 << 20


def unpack(crate: Path, folder: Path) -> None:
    """Unpack a ZIP file.

    Args:
        crate: the file.
        folder: an empty folder.

    Raises:
        AnalysisError: it is no ZIP file, is damaged, or has what no crate has.
    """
    try:
        with zipfile.ZipFile(crate) as archive:
            _check(archive.infolist())
            left = _MAX_BYTES
            for entry in archive.infolist():
                left = _write(archive, entry, folder, left)
    # RuntimeError: encrypted; NotImplementedError: an unknown compression; ValueError: a name with a null.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise AnalysisError(f"{crate} is no crate: {error}") from None


def _check(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse a ZIP file before anything of it is written.

    Raises:
        zipfile.BadZipFile: with the reason.
    """
    if len(entries) > _MAX_FILES:
        raise zipfile.BadZipFile(f"it has {len(entries):,} files, and a crate has at most {_MAX_FILES:,}")
    if sum(entry.file_size for entry in entries) > _MAX_BYTES:
        raise zipfile.BadZipFile(f"unpacked it has more than {_MAX_BYTES:,} bytes")
    names = set()
    for entry in entries:
        # The name as it is in the file: Python cuts it at a null, and other programs may not.
        name = entry.orig_filename
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not name.isprintable():
            raise zipfile.BadZipFile(f"it has a file with the path {name!r}")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise zipfile.BadZipFile(f"{name!r} in it is a link or the like")
        # On some disks names that differ in case are one file.
        folded = str(path).casefold()
        if folded in names:
            raise zipfile.BadZipFile(f"it has {name!r} twice")
        names.add(folded)


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, left: int) -> int:
    """Write one file; how many bytes may still follow. What the headers say of its size may be wrong."""
    target = folder / entry.filename
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return left
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as copy:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"unpacked it has more than {_MAX_BYTES:,} bytes")
            copy.write(block)
    return left
