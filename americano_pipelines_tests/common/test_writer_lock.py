"""One writer at a time, also after a writer was killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.errors import LockHeldError
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import environment

WRITER = """
import sys
from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.settings import load_settings
with writer_lock(load_settings(), on_wait=lambda text: print(text, flush=True)):
    print("held", flush=True)
    sys.stdin.readline()
"""
Writer = subprocess.Popen[str]


@pytest.fixture
def start_writer(tmp_path: Path) -> Iterator[Callable[[], Writer]]:
    """Start a process that takes the lock, says `held` and lets go when its input ends."""
    with ExitStack() as started:

        def start() -> Writer:
            writer = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER],
                    env=environment(tmp_path / "data"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            started.callback(writer.kill)
            return writer

        yield start


def message(writer: Writer) -> str:
    assert writer.stdout is not None
    return writer.stdout.readline().strip()


def let_go(writer: Writer) -> None:
    writer.communicate("\n", timeout=20)


def test_a_second_writer_waits_asleep_and_then_proceeds(start_writer: Callable[[], Writer]) -> None:
    first = start_writer()
    assert message(first) == "held"
    second = start_writer()
    assert f"held by process {first.pid} on {socket.gethostname()} since 20" in message(second)

    before = sum(psutil.Process(second.pid).cpu_times()[:2])
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(2)
    spent = sum(psutil.Process(second.pid).cpu_times()[:2]) - before

    assert spent < 0.2
    let_go(first)
    assert message(second) == "held"
    let_go(second)
    assert second.returncode == 0


def test_who_cannot_wait_is_told_who_holds_it(
    start_writer: Callable[[], Writer], settings_for: Callable[..., Settings]
) -> None:
    holder = start_writer()
    assert message(holder) == "held"

    with pytest.raises(LockHeldError) as refused, writer_lock(settings_for(), wait_seconds=0):
        pytest.fail("two writers at once")

    since = r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    assert re.search(rf"process {holder.pid} on {re.escape(socket.gethostname())} {since}", str(refused.value))


def test_a_killed_writer_leaves_the_lock_free(
    start_writer: Callable[[], Writer], settings_for: Callable[..., Settings]
) -> None:
    killed = start_writer()
    assert message(killed) == "held"
    killed.send_signal(signal.SIGKILL)
    killed.wait(20)
    card = settings_for().paths.root / "sync.json"
    assert json.loads(card.read_text())["pid"] == killed.pid

    with writer_lock(settings_for(), wait_seconds=0, on_wait=pytest.fail):
        assert json.loads(card.read_text())["pid"] == os.getpid()


def test_a_failed_writer_leaves_the_lock_free(settings_for: Callable[..., Settings]) -> None:
    with pytest.raises(ZeroDivisionError), writer_lock(settings_for()):
        _ = 1 / 0

    with writer_lock(settings_for(), wait_seconds=0, on_wait=pytest.fail):
        pass


@pytest.mark.parametrize("card", ["", "{", "{}", "[]", "null"])
def test_a_card_that_cannot_be_read_does_not_hide_that_it_is_held(
    settings_for: Callable[..., Settings], card: str
) -> None:
    settings = settings_for()
    with writer_lock(settings):
        (settings.paths.root / "sync.json").write_text(card)
        with (
            pytest.raises(LockHeldError, match="a process that has just taken it"),
            writer_lock(settings, wait_seconds=0),
        ):
            pytest.fail("two writers at once")


def test_two_data_folders_do_not_wait_for_each_other(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    other = settings_for(americano_data_dir=tmp_path / "other")
    with writer_lock(settings_for()), writer_lock(other, wait_seconds=0, on_wait=pytest.fail):
        pass


def test_two_data_folders_that_publish_one_file_do_wait_for_each_other(
    start_writer: Callable[[], Writer], settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    published = settings_for().paths.published
    other = settings_for(americano_data_dir=tmp_path / "other", duckdb_db_path=published)
    holder = start_writer()
    assert message(holder) == "held"
    waited: list[str] = []

    with pytest.raises(LockHeldError, match=f"process {holder.pid} "), writer_lock(other, wait_seconds=0):
        pytest.fail("two writers at once")
    releasing = threading.Timer(0.5, let_go, [holder])
    releasing.start()
    with writer_lock(other, wait_seconds=20, on_wait=waited.append):
        releasing.join()

    assert len(waited) == 1
    assert str(published.with_name(f".{published.name}.lock")) in waited[0]
