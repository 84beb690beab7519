"""Runs and their processes: who died, who waits for whom, and the Dagster home of a data folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.defs import run_owners
from americano_pipelines.defs.dagster_instance import TEMPLATE, open_instance
from americano_pipelines.defs.legacy_tags import rename_legacy_tags
from americano_pipelines.defs.run_maintenance import instance_for_runs
from americano_pipelines.defs.run_processes import fail_dead_runs, process_tags
from americano_pipelines.defs.run_tags import (
    BOOT_TAG,
    HOME_TAG,
    HOST_TAG,
    NAMESPACE_TAG,
    OPEN,
    OWNER_TAG,
    PID_TAG,
    REQUEST_TAG,
    RUN_TAG,
    STARTED_TAG,
    STATUS_TAG,
)
from americano_pipelines.errors import LockHeldError
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.conftest import environment
from americano_pipelines_tests.defs.conftest import (
    Runner,
    container,
    events_query,
    published,
    write_parquet,
)
from americano_pipelines_tests.waiting import wait_until

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
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python code in a process that sees these settings; it is killed at the end, or after a minute.

    So whoever waits for a line that never comes reads an empty one.
    """
    started = []

    def run(code: str, *arguments: str, data_dir: Path, **values: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=environment(data_dir, **values),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            text=True,
        )
        deadline = threading.Timer(60, process.kill)
        deadline.start()
        started.append((process, deadline))
        return process

    yield run
    for process, deadline in started:
        deadline.cancel()
        process.kill()
        process.communicate()


def run_of(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = STARTED, **tags: str) -> str:
    """Record a run that this process executes, with some of its tags changed."""
    names = {
        "host": HOST_TAG,
        "pid": PID_TAG,
        "started": STARTED_TAG,
        "run": RUN_TAG,
        "boot": BOOT_TAG,
        "home": HOME_TAG,
    }
    run_id = str(uuid.uuid4())
    changed = {names[name]: value for name, value in tags.items()}
    instance.create_run_for_job(_job, run_id=run_id, status=status, tags=process_tags(instance, run_id) | changed)
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
    renamed = run_of(instance, pid=free_pid(), host="another-name-of-this-host")
    elsewhere = run_of(instance, pid=free_pid(), host="another-host", boot="another-machine", home="another-home")
    done = run_of(instance, dg.DagsterRunStatus.SUCCESS, pid=free_pid())
    executed_again = run_of(instance, pid=free_pid(), run="the-first-one")

    assert set(fail_dead_runs(instance)) == {gone, reused, canceling, renamed}

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


def test_a_run_of_an_earlier_release_is_told_by_its_host(instance: dg.DagsterInstance) -> None:
    names = (HOST_TAG, PID_TAG, STARTED_TAG, RUN_TAG)
    dead, elsewhere = run_of(instance, pid=free_pid()), run_of(instance, pid=free_pid(), host="another-host")
    for run_id in (dead, elsewhere):
        run = instance.get_run_by_id(run_id)
        assert run is not None
        instance.delete_run(run_id)
        tags = {name: run.tags[name] for name in names}
        instance.create_run_for_job(_job, run_id=run_id, status=STARTED, tags=tags)

    assert fail_dead_runs(instance) == [dead]


def test_the_tags_of_an_earlier_release_count_under_their_present_names(instance: dg.DagsterInstance) -> None:
    def earlier(status: dg.DagsterRunStatus, **tags: str) -> str:
        run_id = str(uuid.uuid4())
        present = process_tags(instance, run_id) | {PID_TAG: free_pid(), STATUS_TAG: OPEN}
        renamed = {name.replace(".dagster/americano_", "americano/"): value for name, value in present.items()}
        instance.create_run_for_job(_job, run_id=run_id, status=status, tags=renamed | {REQUEST_TAG: "a row"} | tags)
        return run_id

    killed, ended = earlier(STARTED), earlier(dg.DagsterRunStatus.SUCCESS)
    reconciled = earlier(dg.DagsterRunStatus.SUCCESS, **{STATUS_TAG: "FINISHED"})

    assert fail_dead_runs(instance) == [killed]

    waiting = instance.get_runs(dg.RunsFilter(tags={STATUS_TAG: OPEN}))
    assert {run.run_id for run in waiting} == {killed, ended}, "what was set since is newer"
    assert instance.get_runs_count(dg.RunsFilter(tags={RUN_TAG: reconciled, REQUEST_TAG: "a row"})) == 1
    assert rename_legacy_tags(instance) == []


IN_A_CONTAINER = """
import sys, time
from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.run_maintenance import instance_for_runs
from americano_pipelines.defs.run_processes import process_tags
from americano_pipelines.settings import load_settings
with open_instance(load_settings()) as instance:
    instance.add_run_tags(sys.argv[1], process_tags(instance, sys.argv[1]))
    print("signed", flush=True)
    time.sleep(60)
"""


def test_runs_of_containers_that_are_gone_fail_and_others_stay(
    settings_for: Callable[..., Settings],
) -> None:
    container_command = container("another-name")
    settings = settings_for()
    with open_instance(settings) as instance:
        run_id = instance.create_run_for_job(_job, status=STARTED).run_id
        with subprocess.Popen(
            [*container_command, sys.executable, "-c", IN_A_CONTAINER, run_id],
            env=environment(settings.paths.root),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "signed\n"
                run = instance.get_run_by_id(run_id)
                assert run is not None
                assert (run.tags[HOST_TAG], run.tags[PID_TAG]) == ("another-name", "1")
                assert run.tags[NAMESPACE_TAG] != run_owners.place_tags(settings.paths.dagster_home)[NAMESPACE_TAG]
                assert fail_dead_runs(instance) == [], "its process lives, whatever number it has here"
            finally:
                process.kill()
        # The kernel ends what was in it a moment later.
        wait_until(lambda: fail_dead_runs(instance) == [run_id], "the end of the container's process")
        assert list((settings.paths.dagster_home / "processes").iterdir()) == []


def test_what_cannot_be_told_from_here_is_left(
    settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = settings_for().paths.dagster_home
    tags = run_owners.place_tags(home) | {OWNER_TAG: "gone.owner"}
    rebooted = tags | {BOOT_TAG: "the start before"}
    monkeypatch.setattr(run_owners, "_file_system", lambda _: ("ext4", "rw"))
    assert [run_owners.is_gone(home, run_tags) for run_tags in (tags, rebooted)] == [True, True]
    assert run_owners.is_gone(home, tags | {HOME_TAG: "another.1"}) is None
    assert run_owners.is_gone(home, rebooted | {OWNER_TAG: run_owners.NO_OWNER}) is True, (
        "no process outlives its machine"
    )

    for system, other_machine in (
        (("nfs4", "rw,local_lock=none"), True),
        (("nfs", "rw,local_lock=all"), None),
        (("nfs", "rw,nolock"), None),
        (("fuse.sshfs", "rw"), None),
        (("9p", "rw"), None),
    ):
        monkeypatch.setattr(run_owners, "_file_system", lambda _, system=system: system)
        assert run_owners.is_gone(home, tags) is True, "on one machine all of them hold locks"
        assert run_owners.is_gone(home, rebooted) is other_machine, system
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    assert run_owners.is_gone(copy, tags) is None, "its process may well be alive, and work on the first"


def test_a_sign_ends_with_its_process_and_not_with_a_child(settings_for: Callable[..., Settings], start: Start) -> None:
    settings = settings_for()
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from americano_pipelines.defs.run_owners import owner_tags; from americano_pipelines.defs.run_tags import "
        "OWNER_TAG\n"
        "print(owner_tags(Path(sys.argv[1]))[OWNER_TAG], flush=True)\n"
        "if not os.fork(): os.close(1); os.close(2); time.sleep(30); os._exit(0)\n"
        "print(os.getpid(), flush=True); sys.stdin.read()"
    )
    process = start(code, str(settings.paths.dagster_home), data_dir=settings.paths.root)
    assert process.stdout is not None
    name, _ = process.stdout.readline().strip(), process.stdout.readline()
    tags = run_owners.place_tags(settings.paths.dagster_home) | {OWNER_TAG: name}
    children = psutil.Process(process.pid).children()
    try:
        assert run_owners.is_gone(settings.paths.dagster_home, tags) is False
        process.kill()
        process.wait()
        assert len(children) == 1
        assert children[0].is_running()
        assert run_owners.is_gone(settings.paths.dagster_home, tags) is True
    finally:
        for child in children:
            child.kill()


def test_a_killed_sync_is_marked_failed_by_the_next_command(
    settings_for: Callable[..., Settings], start: Start, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query())
    settings = settings_for(behavioral_events_parquet=str(file))
    victim = start(HANGING_SYNC, "sync", data_dir=settings.paths.root, behavioral_events_parquet=file)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "building\n"

    with open_instance(settings) as instance:
        (run,) = instance.get_runs()
        assert run.status == STARTED, "its process lives"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    with open_instance(settings) as instance:
        (run,) = instance.get_runs()
        assert run.status == STARTED, "opening repairs nothing"
    with instance_for_runs(settings):
        pass
    with open_instance(settings) as instance:
        (run,) = instance.get_runs()
        assert run.status == FAILED
        ends = [
            event for event in instance.all_logs(run.run_id) if event.dagster_event and event.dagster_event.is_failure
        ]
        assert f"process {victim.pid} on {socket.gethostname()} ended" in ends[0].message
    with writer_lock(settings, wait_seconds=0):
        assert not settings.paths.published.exists()


def test_a_second_sync_waits_for_the_first_and_says_for_whom(
    settings_for: Callable[..., Settings], start: Start, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query())
    settings = settings_for(behavioral_events_parquet=str(file))
    with writer_lock(settings):
        waiting = start(
            "from americano_pipelines.cli import main; main()",
            *("sync", "--json"),
            data_dir=settings.paths.root,
            behavioral_events_parquet=file,
            log_level="WARNING",
        )
        assert waiting.stdout is not None
        said = ""
        while "waiting for the writer lock" not in said:
            said = waiting.stdout.readline()
            assert said, "it ended without waiting"
        assert f"held by process {os.getpid()} on {socket.gethostname()} since 20" in said
        assert not settings.paths.published.exists()
    rest, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, rest
    assert settings.paths.published.exists()


def test_who_waits_too_long_is_told_who_holds_the_lock(settings_for: Callable[..., Settings], start: Start) -> None:
    settings = settings_for()
    code = (
        "import time; from americano_pipelines.common.writer_lock import writer_lock; "
        "from americano_pipelines.settings import load_settings\n"
        "with writer_lock(load_settings()): print('held', flush=True); time.sleep(60)"
    )
    holder = start(code, data_dir=settings.paths.root)
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
        "import time; from americano_pipelines.common.writer_lock import writer_lock; "
        "from americano_pipelines.settings import load_settings\n"
        "settings = load_settings(); before = time.process_time()\n"
        "try:\n    with writer_lock(settings, wait_seconds=2): pass\n"
        "except Exception as error: print(type(error).__name__, time.process_time() - before)"
    )
    with writer_lock(settings):
        name, seconds = start(code, data_dir=settings.paths.root).communicate(timeout=60)[0].split()
    assert name == "LockHeldError"
    assert float(seconds) < 0.5


HOME = """
from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.settings import load_settings
with open_instance(load_settings()) as instance:
    print(instance.get_runs_count())
"""


@pytest.mark.slow
def test_two_first_starts_at_once_do_not_collide(settings_for: Callable[..., Settings], start: Start) -> None:
    settings = settings_for()

    both = [start(HOME, data_dir=settings.paths.root) for _ in range(2)]

    for process in both:
        output, _ = process.communicate(timeout=120)
        assert (process.returncode, output.strip().splitlines()[-1:]) == (0, ["0"]), output
    assert (settings.paths.dagster_home / "dagster.yaml").read_text() == TEMPLATE.read_text()
    assert settings.paths.dagster_home.is_absolute()


def test_a_configuration_that_is_there_is_left_alone(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    settings.paths.dagster_home.mkdir(parents=True)
    own = "telemetry:\n  enabled: false\n"
    (settings.paths.dagster_home / "dagster.yaml").write_text(own)

    with open_instance(settings):
        assert (settings.paths.dagster_home / "dagster.yaml").read_text() == own


def test_dagster_home_is_honoured(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    settings = settings_for(dagster_home=tmp_path / "elsewhere")

    with open_instance(settings) as instance:
        assert Path(instance.root_directory) == tmp_path / "elsewhere"
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "elsewhere")
    assert not (settings.paths.root / "dagster_home").exists()


@pytest.mark.slow
def test_two_data_folders_never_meet(runner: Callable[..., Runner], start: Start, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "one.parquet", events_query(10))
    first = runner(americano_data_dir=tmp_path / "one", behavioral_events_parquet=str(file))
    other_file = write_parquet(tmp_path / "other.parquet", events_query(20))
    with writer_lock(first.settings):
        code = "from americano_pipelines.cli import main; main()"
        process = start(code, "sync", data_dir=tmp_path / "other", behavioral_events_parquet=other_file)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert first.run().success

    counts = "SELECT count(*) FROM analytics.behavioral_events"
    other = load_settings(americano_data_dir=tmp_path / "other")
    assert published(first.settings, counts) == [(10,)]
    assert published(other, counts) == [(20,)]
    assert other.paths.dagster_home.is_relative_to(tmp_path / "other")
    assert (other.paths.dagster_home / "dagster.yaml").is_file()
    assert not first.settings.paths.dagster_home.exists()
