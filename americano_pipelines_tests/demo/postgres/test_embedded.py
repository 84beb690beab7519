"""An embedded server: start, stop, crashes, concurrent starts, passwords."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from americano_pipelines.demo.postgres.cluster import SUPERUSER, EmbeddedPostgresError, let_through
from americano_pipelines.demo.postgres.embedded import EmbeddedPostgres

START = (
    "import sys, pathlib, americano_pipelines.demo.postgres.embedded as e;"
    " e.EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()"
)

RIGHT, WRONG = "korrekt 馬", "falsch"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "pg")
    yield server
    server.stop()


def ask(server: EmbeddedPostgres, query: str, password: str | None = None) -> object:
    link = psycopg2.connect(
        host=server.host, port=server.port, user=SUPERUSER, dbname="postgres", password=password, connect_timeout=5
    )
    try:
        with link.cursor() as run:
            run.execute(query)
            row = run.fetchone()
            return row[0] if row else None
    finally:
        link.close()


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.pgdata / "postmaster.pid").read_text().split()[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_start_and_stop_are_idempotent(postgres: EmbeddedPostgres) -> None:
    postgres.stop()
    assert not postgres.is_running()
    postgres.start()
    first = postmaster(postgres)
    postgres.start()
    assert postmaster(postgres) == first
    assert ask(postgres, "SELECT current_setting('timezone') || current_setting('server_encoding')") == "UTCUTF8"
    assert ask(postgres, "SELECT datcollate FROM pg_database WHERE datname = 'template1'") == "C"
    postgres.stop()
    postgres.stop()
    assert not postgres.is_running()


def test_socket_is_private_and_tcp_is_closed(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert stat.S_IMODE(Path(postgres.host).stat().st_mode) == 0o700
    assert ask(postgres, "SELECT current_setting('listen_addresses')") == ""


def test_starts_again_after_the_postmaster_was_killed(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    link = psycopg2.connect(host=postgres.host, port=postgres.port, user=SUPERUSER, dbname="postgres")
    backend = link.info.backend_pid
    os.kill(backend, signal.SIGSTOP)  # a child that is slow to notice that its postmaster is gone
    os.kill(postmaster(postgres), signal.SIGKILL)
    waker = threading.Timer(0.7, os.kill, (backend, signal.SIGCONT))
    waker.start()
    postgres.start()
    waker.join()
    assert ask(postgres, "SELECT 1") == 1
    link.close()


def test_start_waits_until_a_server_that_shows_also_answers(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    number = postmaster(postgres)
    os.kill(number, signal.SIGSTOP)
    waker = threading.Timer(0.7, os.kill, (number, signal.SIGCONT))
    waker.start()
    begun = time.monotonic()
    postgres.start()
    assert time.monotonic() - begun > 0.5
    waker.join()
    assert postmaster(postgres) == number


def test_stale_note_whose_number_another_process_bears(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    note = postgres.pgdata / "postmaster.pid"
    old = note.read_text()
    postgres.stop()
    with subprocess.Popen(["sleep", "60"]) as other:
        note.write_text("\n".join([str(other.pid), *old.splitlines()[1:]]))
        assert not postgres.is_running()
        postgres.stop()
        postgres.start()
        assert ask(postgres, "SELECT 1") == 1
        assert other.poll() is None
        other.kill()


def test_outlives_the_process_that_started_it_and_takes_two_at_once(postgres: EmbeddedPostgres) -> None:
    command = [sys.executable, "-c", START, str(postgres.pgdata)]
    starters = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(starter.communicate()[1], starter.returncode) for starter in starters] == [("", 0), ("", 0)]
    assert postgres.is_running()
    mine = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "-D" in (process.info["cmdline"] or []) and str(postgres.pgdata) in process.info["cmdline"]
    ]
    assert len(mine) == 1


def test_interrupted_creation_is_begun_anew(postgres: EmbeddedPostgres) -> None:
    half = postgres.pgdata.with_name("pg.new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    postgres.start()
    assert ask(postgres, "SELECT 1") == 1
    assert not half.exists()


def test_folder_of_something_else_is_refused(postgres: EmbeddedPostgres) -> None:
    postgres.pgdata.mkdir()
    (postgres.pgdata / "thesis.txt").write_text("mine")
    with pytest.raises(EmbeddedPostgresError, match="no Postgres data folder"):
        postgres.start()
    assert (postgres.pgdata / "thesis.txt").read_text() == "mine"


def test_relative_and_long_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = EmbeddedPostgres(Path("a long folder, with a comma") / ("x" * 100) / "pg")
    assert server.pgdata.is_absolute()
    try:
        server.start()
        assert len(server.host) < 60
        assert stat.S_IMODE(Path(server.host).stat().st_mode) == 0o700
        monkeypatch.chdir("/")
        assert ask(server, "SELECT 1") == 1
    finally:
        server.stop()
        Path(server.host).rmdir()


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(0o777, id="open"),
        pytest.param(0o700, id="foreign", marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")),
    ],
)
def test_socket_folder_of_somebody_else_is_refused(tmp_path: Path, mode: int) -> None:
    server = EmbeddedPostgres(tmp_path / ("x" * 100) / "pg")
    Path(server.host).mkdir()
    Path(server.host).chmod(mode)
    try:
        with pytest.raises(EmbeddedPostgresError, match="not a private folder"):
            server.start()
    finally:
        server.stop()
        Path(server.host).rmdir()


def test_tcp_demands_the_password(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="password"):
        EmbeddedPostgres(tmp_path / "pg", port=free_port())
    server = EmbeddedPostgres(
        tmp_path / "pg", port=free_port(), superuser_password=RIGHT, server_settings={"max_connections": "17"}
    )
    try:
        server.start()
        assert server.host == "127.0.0.1"
        assert ask(server, "SELECT current_setting('max_connections')", RIGHT) == "17"
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            ask(server, "SELECT 1", WRONG)
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(host=str(server.pgdata), port=server.port, user=SUPERUSER, password=WRONG)
        assert RIGHT not in server.log.read_text()
    finally:
        server.stop()


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", server_settings={"max_connections": "plenty"})
    begun = time.monotonic()
    with pytest.raises(EmbeddedPostgresError, match=r"invalid value for parameter.*max_connections") as caught:
        server.start()
    assert time.monotonic() - begun < 20  # nothing here to wait for
    assert "server.log" in str(caught.value)
    assert not server.is_running()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root opens folders for another user")
def test_folders_above_are_opened_for_passing_only(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    let_through(closed / "inner")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
