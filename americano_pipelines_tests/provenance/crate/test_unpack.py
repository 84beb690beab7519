"""A ZIP file that is no crate is refused before anything of it lies outside of its folder, or fills the disk."""

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.crate.unpack import unpack


def entry(name: str, kind: int = stat.S_IFREG) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name
    info.external_attr = (kind | 0o644) << 16
    return info


def bomb(archive: zipfile.ZipFile) -> None:
    archive.compression = zipfile.ZIP_DEFLATED
    for number in range(9):
        archive.writestr(f"zeros{number}", bytes(128 << 20), compresslevel=1)


def twice(archive: zipfile.ZipFile) -> None:
    archive.writestr("record.json", "1")
    archive.writestr("Record.json", "2")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda archive: archive.writestr(entry("../outside"), "1"), r"path '\.\./outside'"),
        (lambda archive: archive.writestr(entry("a/../../outside"), "1"), "path"),
        (lambda archive: archive.writestr(entry("/outside"), "1"), "path '/outside'"),
        (lambda archive: archive.writestr(entry("a\\..\\outside"), "1"), "path"),
        (lambda archive: archive.writestr(entry("C:outside"), "1"), "path"),
        (lambda archive: archive.writestr(entry("a\nb"), "1"), "path"),
        (lambda archive: archive.writestr(entry("link", stat.S_IFLNK), "/etc/passwd"), "'link' in it is a link"),
        (lambda archive: archive.writestr(entry("pipe", stat.S_IFIFO), ""), "'pipe' in it is a link or the like"),
        (twice, "'Record.json' twice"),
        (lambda archive: [archive.writestr(f"{number}", "") for number in range(10_001)], "10,001 files"),
    ],
)
def test_what_no_crate_has_is_refused(tmp_path: Path, write: Callable[[zipfile.ZipFile], object], reason: str) -> None:
    inside, crate = tmp_path / "deep" / "inside", tmp_path / "crate.zip"
    inside.mkdir(parents=True)
    with zipfile.ZipFile(crate, "w") as archive:
        write(archive)

    with pytest.raises(AnalysisError, match=reason):
        unpack(crate, inside)

    assert list(inside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["crate.zip", "deep", "inside"]


def test_a_file_that_unpacks_too_large_is_refused_despite_its_headers(tmp_path: Path) -> None:
    inside, crate = tmp_path / "inside", tmp_path / "crate.zip"
    inside.mkdir()
    with zipfile.ZipFile(crate, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("zeros", bytes(8 << 20))
    content = crate.read_bytes()
    size = (8 << 20).to_bytes(4, "little")
    assert content.count(size) == 2, "in the file's header and in the table at the end"

    crate.write_bytes(content.replace(size, (2 << 30).to_bytes(4, "little")))
    with pytest.raises(AnalysisError, match="more than 1,073,741,824 bytes"):
        unpack(crate, inside)
    crate.write_bytes(content.replace(size, (1 << 10).to_bytes(4, "little")))
    with pytest.raises(AnalysisError, match="is no crate"):
        unpack(crate, inside)

    assert sum(path.stat().st_size for path in inside.rglob("*")) <= 1 << 20


def test_a_truncated_or_encrypted_file_is_no_crate(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    crate = tmp_path / "crate.zip"
    with zipfile.ZipFile(crate, "w") as archive:
        archive.writestr("record.json", "1" * 1000)
    content = bytearray(crate.read_bytes())
    crate.write_bytes(content[:-30])
    with pytest.raises(AnalysisError, match="is no crate"):
        unpack(crate, tmp_path / "inside")
    for place in (6, content.rindex(b"PK\x01\x02") + 8):
        content[place] |= 1  # the flag of an encrypted file
    crate.write_bytes(content)
    with pytest.raises(AnalysisError, match="is no crate"):
        unpack(crate, tmp_path / "inside")
