"""DuckDB sessions: bounded memory, UTC, no downloads."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import duckdb
import pytest

from americano_pipelines.common import duckdb_session
from americano_pipelines.errors import ConfigError, ResourceError
from americano_pipelines.settings import PROJECT_ROOT, Settings
from americano_pipelines.warehouse import input_selection as source_module
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import environment
from americano_pipelines_tests.warehouse.helpers import published, synced, write_parquet

LOADER = """
import json, sys
from americano_pipelines.common.duckdb_session import connect, load_postgres_extension
from americano_pipelines.settings import load_settings
with connect(load_settings()) as connection:
    connection.execute("SET extension_directory = $1", [sys.argv[1]])
    load_postgres_extension(connection)
    loaded = connection.execute(
        "SELECT extension_version FROM duckdb_extensions() WHERE extension_name = 'postgres_scanner' AND loaded"
    ).fetchall()
    try:
        # A function that DuckDB knows to be in an extension, which it could fetch.
        connection.execute("SELECT excel_text(1, 'h')")
        outcome = "fetched"
    except Exception as error:
        outcome = str(error)
print(json.dumps([loaded, outcome]))
"""


def setting(connection: duckdb.DuckDBPyConnection, name: str) -> object:
    row = connection.execute("SELECT current_setting($1)", [name]).fetchone()
    return row[0] if row else None


def test_limits_threads_spill_folder_and_time_zone_are_as_configured(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(americano_memory_limit="300MiB", americano_threads=3)
    with duckdb_session.connect(settings) as connection:
        assert setting(connection, "memory_limit") == "300.0 MiB"
        assert setting(connection, "threads") == 3
        assert Path(str(setting(connection, "temp_directory"))).parent == settings.paths.spill
        assert setting(connection, "TimeZone") == "UTC"
        assert setting(connection, "autoinstall_known_extensions") is False
        assert setting(connection, "autoload_known_extensions") is False


def test_sessions_that_spill_at_the_same_time_read_their_own_rows(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(americano_memory_limit="60MB", americano_threads=1)
    query = "CREATE TABLE t AS SELECT uuid() AS a, uuid() AS b, CAST($1 AS BIGINT) AS session FROM range(2000000)"
    with duckdb_session.connect(settings) as first, duckdb_session.connect(settings) as second:
        for session, connection in enumerate((first, second)):
            connection.execute(query, [session])
        folders = {setting(connection, "temp_directory") for connection in (first, second)}
        spilled = [str(path.parent) for path in settings.paths.spill.rglob("*.tmp")]
        assert set(spilled) == folders
        for session, connection in enumerate((first, second)):
            rows = connection.execute(
                "SELECT count(*), min(session), max(session), count(DISTINCT a) FROM t"
            ).fetchall()
            assert rows == [(2000000, session, session, 2000000)]

    assert list(settings.paths.spill.iterdir()) == []


def test_readers_of_one_file_are_bounded_and_spill_apart(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    settings = settings_for(americano_memory_limit="300MiB", americano_threads=1)
    path = tmp_path / "some file.duckdb"
    with duckdb_session.connect(settings, path) as connection:
        connection.execute("CREATE SCHEMA research; CREATE TABLE research.t AS SELECT 1 AS a")

    with (
        duckdb_session.connect_to_read(settings, path) as first,
        duckdb_session.connect_to_read(settings, path) as second,
    ):
        assert first.execute("FROM research.t").fetchall() == [(1,)]
        assert setting(first, "memory_limit") == "300.0 MiB"
        folders = {str(setting(connection, "temp_directory")) for connection in (first, second)}
        assert folders == {str(folder) for folder in settings.paths.spill.iterdir() if folder.is_dir()}
        assert len(folders) == 2
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            first.execute("INSERT INTO research.t VALUES (2)")


def test_a_reader_that_may_not_write_reads_all_the_same(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    settings = settings_for()
    with duckdb_session.connect(settings, tmp_path / "x.duckdb") as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    settings.paths.spill.rmdir()
    settings.paths.spill.symlink_to("/proc/none")

    with duckdb_session.connect_to_read(settings, tmp_path / "x.duckdb") as connection:
        assert connection.execute("FROM t").fetchall() == [(1,)]


def test_a_session_is_closed_whatever_happens(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), duckdb_session.connect(settings_for(), tmp_path / "x.duckdb"):
        _ = 1 / 0

    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_the_extension_loads_from_its_wheel_and_nothing_is_fetched(tmp_path: Path) -> None:
    home, extensions = tmp_path / "home", tmp_path / "extensions"
    home.mkdir()
    extensions.mkdir()

    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(extensions)],
        env={**environment(tmp_path / "data"), "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    loaded, outcome = json.loads(done.stdout)
    assert len(loaded) == 1
    assert "excel" in outcome
    assert "fetched" not in outcome
    assert "http" not in outcome.lower()
    assert list(home.rglob("*")) == []
    assert list(extensions.rglob("*")) == []


def test_no_statement_of_ours_installs_an_extension() -> None:
    sources = [path for path in (PROJECT_ROOT / "americano_pipelines").rglob("*") if path.suffix in {".py", ".sql"}]
    calls = re.compile(r"\bINSTALL\b|install_extension|autoinstall_known_extensions\W+True")

    assert len(sources) > 50
    assert [path.name for path in sources if calls.search(path.read_text(encoding="utf-8"))] == []


def test_an_extension_of_another_release_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_session, "version", lambda package: {"duckdb": "1.5.5"}.get(package, "1.4.0"))

    with pytest.raises(ConfigError, match=r"duckdb is 1\.5\.5 but duckdb-extension-postgres-scanner is 1\.4\.0"):
        duckdb_session.check_extension()


def test_a_missing_extension_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "duckdb":
            return "1.5.5"
        raise PackageNotFoundError(package)

    monkeypatch.setattr(duckdb_session, "version", version)

    with pytest.raises(ConfigError, match=r"install duckdb-extension-postgres-scanner==1\.5\.5"):
        duckdb_session.check_extension()


def test_an_extension_without_its_file_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(duckdb_session, "files", lambda _: tmp_path)

    with pytest.raises(ConfigError, match=r"is installed, but .*postgres_scanner\.duckdb_extension is missing"):
        duckdb_session.check_extension()


def test_a_wrong_version_stops_a_session_before_postgres_is_asked(
    monkeypatch: pytest.MonkeyPatch, settings_for: Callable[..., Settings]
) -> None:
    monkeypatch.setattr(duckdb_session, "version", lambda package: {"duckdb": "2.0.0"}.get(package, "1.5.5"))

    with (
        duckdb_session.connect(settings_for()) as connection,
        pytest.raises(ConfigError, match="must be the same version"),
    ):
        duckdb_session.load_postgres_extension(connection)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            duckdb.OutOfMemoryException("Out of Memory Error: no\nmore"),
            r"AMERICANO_MEMORY_LIMIT \(512MB\) is too small .*first to 1024MB, or lower AMERICANO_THREADS \(\d+\)",
        ),
        (
            duckdb.OutOfMemoryException("failed to offload; limit was set by the 'max_temp_directory_size' setting"),
            r"tmp is full: make room there, or raise AMERICANO_MEMORY_LIMIT \(512MB\)",
        ),
        (
            duckdb.IOException("IO Error: write failed: No space left on device"),
            "there is no room to write. Nothing was published; make room on that disk",
        ),
        (
            duckdb.IOException('IO Error: Could not write to file "/x/y": Input/output error'),
            "disk fails. Nothing was published; the disk or the connection to it fails: .* and run this again",
        ),
        (
            duckdb.IOException('IO Error: Cannot open file "/x/y": Read-only file system'),
            "Nothing was published; let this user write there and run this again",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "^/x/y: No space left on device. .*make room there"),
        (OSError(errno.ENOSPC, "No space left on device", "/from", None, "/to"), "^/to: No space left on device"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/y"),
            "^/x/y: Permission denied. .*let this user write there",
        ),
        (
            OSError(errno.EIO, "Input/output error", "/x/y"),
            "^/x/y: Input/output error. .*look at it and at the system's",
        ),
    ],
)
@pytest.mark.parametrize("stage", ["read files", "publish"])
def test_no_room_says_what_to_do_and_leaves_what_is_published(
    settings_for: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
    words: str,
    stage: str,
) -> None:
    query = "SELECT 1 AS id, TIMESTAMP '2024-01-01' AS ts"
    settings = settings_for(behavioral_events_parquet=str(write_parquet(tmp_path / "events.parquet", query)))
    synced(settings)
    before = published(settings)

    def fail(*_: object) -> None:
        raise error

    target = source_module if stage == "read files" else snapshots
    monkeypatch.setattr(target, {"read files": "find_files", "publish": "publish"}[stage], fail)

    with pytest.raises(ResourceError, match=words):
        synced(settings, full=True)
    assert published(settings) == before


def test_another_error_of_the_system_stays_what_it_is(settings_for: Callable[..., Settings]) -> None:
    with pytest.raises(OSError, match="broken"), duckdb_session.resource_errors(settings_for()):
        raise OSError(errno.ECONNREFUSED, "broken")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EINTR, "a signal came in between"),
        (errno.ENOTDIR, "a part of the path is a file"),
        (errno.ELOOP, "links lead in a circle"),
        (errno.ENAMETOOLONG, "choose a shorter one"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ESTALE, "mount it anew"),
        (errno.ENOENT, "make sure that the folder is there"),
    ],
)
def test_every_error_of_a_file_system_says_what_to_do(
    settings_for: Callable[..., Settings], number: int, words: str
) -> None:
    with (
        pytest.raises(ResourceError, match=f"^/x/y: .*Nothing was published; .*{words}.* and run this again$"),
        duckdb_session.resource_errors(settings_for()),
    ):
        raise OSError(number, os.strerror(number), "/x/y")
