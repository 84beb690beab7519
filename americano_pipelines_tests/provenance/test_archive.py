"""Files that are named by their hash: written once, and never read when they hold something else."""

import hashlib
import resource
from pathlib import Path

import pytest

from americano_pipelines.errors import ResourceError, TamperedError
from americano_pipelines.provenance.archive import get, put


def test_what_is_kept_is_read_back_and_written_once(tmp_path: Path) -> None:
    path, name = put(tmp_path, b'{"a":1}')
    written = path.stat().st_mtime_ns

    assert name == hashlib.sha256(b'{"a":1}').hexdigest()
    assert path.name == f"{name}.json"
    assert path.stat().st_mode & 0o222 == 0
    assert get(tmp_path, name) == b'{"a":1}'
    assert put(tmp_path, b'{"a":1}') == (path, name)
    assert path.stat().st_mtime_ns == written
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_was_changed_is_neither_read_nor_taken_for_kept(tmp_path: Path) -> None:
    path, name = put(tmp_path, b'{"p":0.5}')
    path.chmod(0o644)
    path.write_bytes(b'{"p":0.01}')

    with pytest.raises(TamperedError, match="was changed after it was written"):
        get(tmp_path, name)
    with pytest.raises(TamperedError):
        put(tmp_path, b'{"p":0.5}')


def test_what_is_not_there_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        get(tmp_path, "0" * 64)


def test_a_folder_in_place_of_a_file_is_a_changed_file(tmp_path: Path) -> None:
    path, name = put(tmp_path, b'{"p":0.5}')
    path.unlink()
    path.mkdir()

    with pytest.raises(TamperedError, match="it is a folder now"):
        get(tmp_path, name)
    with pytest.raises(TamperedError, match="it is a folder now"):
        put(tmp_path, b'{"p":0.5}')


def test_without_room_it_says_where_and_leaves_no_part_behind(tmp_path: Path) -> None:
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, bounds[1]))
    try:
        with pytest.raises(ResourceError) as refused:
            put(tmp_path / "extracts", b"1" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)

    assert str(refused.value).startswith(f"{tmp_path / 'extracts'}/")
    assert "cannot be written: File too large; make room there" in str(refused.value)
    assert list((tmp_path / "extracts").iterdir()) == []


def test_where_no_folder_can_be_made_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "extracts").write_text("a file where the folder belongs")

    with pytest.raises(ResourceError, match=r"extracts.*cannot be written: File exists"):
        put(tmp_path / "extracts", b"1")
