"""Files are written whole or not at all."""

import threading
from pathlib import Path
from unittest import mock

import pytest

from americano_pipelines.common import atomic_files


def test_a_reader_sees_the_old_text_or_the_new_one_and_nothing_between(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    texts = ["a" * 200_000, "b" * 300_000]
    atomic_files.write_text(path, texts[0])
    contents: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            contents.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(40):
        atomic_files.write_text(path, texts[i % 2])
    done.set()
    reader.join()

    assert contents <= set(texts)
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


def test_bytes_that_cannot_reach_the_disk_leave_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    atomic_files.write_text(path, "old")

    with mock.patch("os.fsync", side_effect=OSError("no space left")), pytest.raises(OSError, match="no space"):
        atomic_files.write_text(path, "new")

    assert path.read_text() == "old"


def test_bytes_are_forced_to_the_disk_before_the_name_and_the_name_after(tmp_path: Path) -> None:
    aside, place = tmp_path / "aside", tmp_path / "deep" / "place"
    aside.write_text("rows")
    at_sync: list[bool] = []
    with mock.patch("os.fsync", side_effect=lambda _: at_sync.append(place.exists())):
        atomic_files.move(aside, place)

    assert at_sync == [False, True]
    assert place.read_text() == "rows"
    assert not aside.exists()


def test_a_link_is_swapped_in_place_and_relative(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("one", "two"):
        (home / "snapshots" / name).mkdir(parents=True)
        (home / "snapshots" / name / "file").write_text(name)
    link = home / "file"
    for name in ("one", "two"):
        atomic_files.swap_link(link, home / "snapshots" / name / "file")
        assert link.read_text() == name

    moved = home.rename(tmp_path / "elsewhere")

    assert (moved / "file").readlink() == Path("snapshots/two/file")
    assert (moved / "file").read_text() == "two"
    assert sorted(entry.name for entry in moved.iterdir()) == ["file", "snapshots"]


def test_removing_a_link_to_a_folder_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()
    (tmp_path / "link").symlink_to(folder)

    atomic_files.remove(tmp_path / "link")
    assert (folder / "file").exists()
    atomic_files.remove(folder)
    atomic_files.remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_identifiers_differ_and_name_a_file() -> None:
    identifiers = {atomic_files.new_id() for _ in range(100)}

    assert len(identifiers) == 100
    assert all(name.replace("-", "").isalnum() for name in identifiers)
