"""The index of the records: a cache that opens no file it knows, and that hides none."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.provenance.record_index import (
    INDEX,
    find_entries,
    find_records,
    newest_entries,
    update_index,
)
from americano_pipelines.settings import Settings
from americano_pipelines_tests.provenance.records import kept_record

# An audit hook cannot be taken out again, so it stays small: the names of files of records, and nothing else.
_opened: list[str] = []


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | Path) and "/provenance/" in str(arguments[0]):
        _opened.append(str(arguments[0]))


sys.addaudithook(_note_opened)


@pytest.fixture
def settings(settings_for: Callable[..., Settings]) -> Settings:
    return settings_for()


def opened_records() -> list[str]:
    """The names of the record files that Python has opened since the last call."""
    names = sorted(Path(path).name for path in _opened if path.endswith(".json"))
    _opened.clear()
    return names


def _files(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(settings.paths.records.iterdir())}


def test_a_reader_opens_only_the_records_that_match(settings: Settings) -> None:
    hashes = [kept_record(settings, protocol_id=f"p{number}", mlflow_run=f"m{number}")[0] for number in range(5)]
    opened_records()
    assert [sha256 for sha256, _ in find_records(settings.paths, "protocol_id", "p3")] == [hashes[3]]
    assert set(opened_records()) == {f"{sha256}.json" for sha256 in hashes}

    update_index(settings.paths)
    opened_records()
    before = _files(settings)
    opened_records()
    assert [sha256 for sha256, _ in find_records(settings.paths, "protocol_id", "p3")] == [hashes[3]]
    assert opened_records() == [f"{hashes[3]}.json"]
    assert len(newest_entries(settings.paths)) == 5
    assert opened_records() == []
    assert _files(settings) == before


def test_readers_write_no_index(settings: Settings) -> None:
    kept_record(settings)
    before = _files(settings)
    assert len(newest_entries(settings.paths)) == 1
    assert _files(settings) == before


def test_records_newer_than_the_index_are_read(settings: Settings) -> None:
    first, _ = kept_record(settings, mlflow_run="m1", started_at="2025-05-01T10:00:00+00:00")
    update_index(settings.paths)
    second, _ = kept_record(settings, mlflow_run="m2", started_at="2025-05-01T11:00:00+00:00")

    assert [entry.sha256 for entry in newest_entries(settings.paths)] == [second, first]
    assert [entry.sha256 for entry in newest_entries(settings.paths, 1)] == [second]
    assert {entry.sha256 for entry in find_entries(settings.paths, "mlflow_run_id", "m2", "m1", "m0")} == {
        first,
        second,
    }


def test_a_record_that_was_changed_or_removed_is_no_record(settings: Settings) -> None:
    changed, record = kept_record(settings, mlflow_run="m1")
    removed, _ = kept_record(settings, mlflow_run="m2")
    update_index(settings.paths)
    path = settings.paths.records / f"{changed}.json"
    status = path.stat()
    path.chmod(0o600)
    path.write_bytes(record.canonical().replace(b"It helped.", b"It harmed."))
    # Same size, and the time of change set back.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (settings.paths.records / f"{removed}.json").unlink()

    assert newest_entries(settings.paths) == []
    assert [entry.sha256 for entry in find_entries(settings.paths, "readable", False)] == [changed]  # noqa: FBT003
    update_index(settings.paths)
    assert newest_entries(settings.paths) == []


@pytest.mark.parametrize("damage", ["no database", "another version", "a writer that was killed"])
def test_an_index_that_is_damaged_is_not_used_and_made_anew(settings: Settings, damage: str) -> None:
    hashes = {kept_record(settings, mlflow_run=f"m{number}")[0] for number in range(3)}
    update_index(settings.paths)
    index = settings.paths.records / INDEX
    if damage == "no database":
        index.write_bytes(b"x" * 10_000)
    elif damage == "another version":
        with sqlite3.connect(index) as connection:
            connection.execute("DROP TABLE entries")
            connection.execute("CREATE TABLE entries (other TEXT)")
            connection.execute("PRAGMA user_version = 7")
    else:
        script = (
            "import os, sqlite3, sys; connection = sqlite3.connect(sys.argv[1]); "
            "connection.execute('PRAGMA cache_size = 1'); connection.execute('DELETE FROM entries'); "
            "connection.execute('CREATE TABLE filler AS WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t "
            "LIMIT 5000) SELECT n, hex(randomblob(200)) FROM t'); os._exit(9)"
        )
        subprocess.run([sys.executable, "-c", script, index], check=False)
        assert index.with_name(f"{INDEX}-journal").exists()

    assert {entry.sha256 for entry in newest_entries(settings.paths)} == hashes
    update_index(settings.paths)
    with sqlite3.connect(index) as connection:
        assert {sha256 for (sha256,) in connection.execute("SELECT sha256 FROM entries")} == hashes
    assert {entry.sha256 for entry in newest_entries(settings.paths)} == hashes
