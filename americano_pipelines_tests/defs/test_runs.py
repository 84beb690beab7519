"""Runs and their processes: who died, who waits for whom, and the Dagster home of a data folder."""

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from americano_pipelines.defs.instance import TEMPLATE, open_instance
from americano_pipelines.defs.runs import HOST_TAG, PID_TAG, RUN_TAG, STARTED_TAG, fail_dead_runs, process_tags
from americano_pipelines.errors import LockHeldError
from americano_pipelines.lock import writer_lock
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.conftest import environment
from americano_pipelines_tests.defs.conftest import Runner, events_query, published, wait_until, write_parquet

STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
HANGING_SYNC = """
import time
from americano_pipelines.warehouse import build
def hang(*arguments):
    print("building", flush=True)
    time.sleep(60)
build.build_models = hang
from americano_pipelines.cli import main
main()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python code in a process that sees these settings; it is killed at the end."""
    started = []

    def run(code: str, *arguments: str, data_dir: Path, **values: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=environment(data_dir, **values),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def run_of(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = STARTED, **tags: str) -> str:
    """Record a run that this process executes, with some of its tags changed."""
    names = {"host": HOST_TAG, "pid": PID_TAG, "started": STARTED_TAG, "run": RUN_TAG}
    run_id = str(uuid.uuid4())
    changed = {names[name]: value for name, value in tags.items()}
    instance.create_run_for_job(_job, run_id=run_id, status=status, tags=process_tags(run_id) | changed)
    return run_id


@dg.job
def _job() -> None:
    """Nothing."""


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def free_pid() -> str:
    return str(next(number for number in range(4_000_000, 1000, -1) if not psutil.pid_exists(number)))


def test_runs_whose_process_is_gone_are_failed_and_no_others(instance: dg.DagsterInstance) -> None:
    gone = run_of(instance, pid=free_pid())
    reused = run_of(instance, started="12.34")
    canceling = run_of(instance, dg.DagsterRunStatus.CANCELING, pid=free_pid())
    alive = run_of(instance)
    elsewhere = run_of(instance, pid=free_pid(), host="another-host")
    done = run_of(instance, dg.DagsterRunStatus.SUCCESS, pid=free_pid())
    executed_again = run_of(instance, pid=free_pid(), run="the-first-one")

    assert set(fail_dead_runs(instance)) == {gone, reused, canceling}

    assert status(instance, gone) == status(instance, reused) == FAILED
    assert status(instance, canceling) == dg.DagsterRunStatus.CANCELED
    assert status(instance, alive) == status(instance, elsewhere) == status(instance, executed_again) == STARTED
    assert status(instance, done) == dg.DagsterRunStatus.SUCCESS
    assert fail_dead_runs(instance) == []


def test_a_clock_that_is_set_kills_no_run(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = run_of(instance)
    boot_time = psutil.boot_time() + 3600
    # Linux derives both from the clock: whoever sets it moves the machine's start and every process's with it.
    created = psutil.Process().create_time() + 3600
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_time)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: created)

    assert fail_dead_runs(instance) == []
    assert status(instance, alive) == STARTED


def test_a_zombie_is_dead(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        process = psutil.Process(child.pid)
        run = run_of(instance, pid=str(child.pid), started=f"{process.create_time() - psutil.boot_time():.2f}")
        assert fail_dead_runs(instance) == []
        child.kill()
        wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE, "the zombie")

        assert fail_dead_runs(instance) == [run]


def test_a_killed_sync_is_marked_failed_at_the_next_start(
    settings_for: Callable[..., Settings], start: Start, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query())
    settings = settings_for(behavioral_events_parquet=str(file))
    victim = start(HANGING_SYNC, "sync", data_dir=settings.data_dir, behavioral_events_parquet=file)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "building\n"

    with open_instance(settings) as instance:
        (run,) = instance.get_runs()
        assert run.status == STARTED, "its process lives"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    with open_instance(settings) as instance:
        (run,) = instance.get_runs()
        assert run.status == FAILED
        ends = [
            event for event in instance.all_logs(run.run_id) if event.dagster_event and event.dagster_event.is_failure
        ]
        assert f"process {victim.pid} on {socket.gethostname()} ended" in ends[0].message
    with writer_lock(settings, wait_seconds=0):
        assert not settings.published_path.exists()


def test_a_second_sync_waits_for_the_first_and_says_for_whom(
    settings_for: Callable[..., Settings], start: Start, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query())
    settings = settings_for(behavioral_events_parquet=str(file))
    with writer_lock(settings):
        waiting = start(
            "from americano_pipelines.cli import main; main()",
            *("sync", "--json"),
            data_dir=settings.data_dir,
            behavioral_events_parquet=file,
            log_level="WARNING",
        )
        assert waiting.stdout is not None
        said = ""
        while "waiting for the writer lock" not in said:
            said = waiting.stdout.readline()
            assert said, "it ended without waiting"
        assert f"held by process {os.getpid()} on {socket.gethostname()} since 20" in said
        assert not settings.published_path.exists()
    rest, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, rest
    assert settings.published_path.exists()


def test_who_waits_too_long_is_told_who_holds_the_lock(settings_for: Callable[..., Settings], start: Start) -> None:
    settings = settings_for()
    code = (
        "import time; from americano_pipelines.lock import writer_lock; "
        "from americano_pipelines.settings import load_settings\n"
        "with writer_lock(load_settings()): print('held', flush=True); time.sleep(60)"
    )
    holder = start(code, data_dir=settings.data_dir)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    with pytest.raises(LockHeldError, match=f"process {holder.pid} on "), writer_lock(settings, wait_seconds=0.2):
        pass
    holder.kill()
    holder.wait()
    with writer_lock(settings, wait_seconds=0):
        pass


def test_the_lock_does_not_burn_a_core_while_it_waits(settings_for: Callable[..., Settings], start: Start) -> None:
    settings = settings_for()
    code = (
        "import time; from americano_pipelines.lock import writer_lock; "
        "from americano_pipelines.settings import load_settings\n"
        "settings = load_settings(); before = time.process_time()\n"
        "try:\n    with writer_lock(settings, wait_seconds=2): pass\n"
        "except Exception as error: print(type(error).__name__, time.process_time() - before)"
    )
    with writer_lock(settings):
        name, seconds = start(code, data_dir=settings.data_dir).communicate(timeout=60)[0].split()
    assert name == "LockHeldError"
    assert float(seconds) < 0.5


HOME = """
from americano_pipelines.defs.instance import open_instance
from americano_pipelines.settings import load_settings
with open_instance(load_settings()) as instance:
    print(instance.get_runs_count())
"""


def test_two_first_starts_at_once_do_not_collide(settings_for: Callable[..., Settings], start: Start) -> None:
    settings = settings_for()

    both = [start(HOME, data_dir=settings.data_dir) for _ in range(2)]

    for process in both:
        output, _ = process.communicate(timeout=120)
        assert (process.returncode, output.strip().splitlines()[-1:]) == (0, ["0"]), output
    assert (settings.dagster_dir / "dagster.yaml").read_text() == TEMPLATE.read_text()
    assert settings.dagster_dir.is_absolute()


def test_a_configuration_that_is_there_is_left_alone(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    settings.dagster_dir.mkdir(parents=True)
    own = "telemetry:\n  enabled: false\n"
    (settings.dagster_dir / "dagster.yaml").write_text(own)

    with open_instance(settings):
        assert (settings.dagster_dir / "dagster.yaml").read_text() == own


def test_dagster_home_is_honoured(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    settings = settings_for(dagster_home=tmp_path / "elsewhere")

    with open_instance(settings) as instance:
        assert Path(instance.root_directory) == tmp_path / "elsewhere"
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "elsewhere")
    assert not (settings.data_dir / "dagster_home").exists()


def test_two_data_folders_never_meet(runner: Callable[..., Runner], start: Start, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "one.parquet", events_query(10))
    one = runner(americano_data_dir=tmp_path / "one", behavioral_events_parquet=str(file))
    other_file = write_parquet(tmp_path / "other.parquet", events_query(20))
    with writer_lock(one.settings):
        code = "from americano_pipelines.cli import main; main()"
        process = start(code, "sync", data_dir=tmp_path / "other", behavioral_events_parquet=other_file)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert one.run().success

    counts = "SELECT count(*) FROM analytics.behavioral_events"
    other = load_settings(americano_data_dir=tmp_path / "other")
    assert published(one.settings, counts) == [(10,)]
    assert published(other, counts) == [(20,)]
    assert other.dagster_dir.is_relative_to(tmp_path / "other")
    assert (other.dagster_dir / "dagster.yaml").is_file()
    assert not one.settings.dagster_dir.exists()
