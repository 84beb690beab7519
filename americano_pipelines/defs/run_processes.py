"""Tag runs with their process, and mark a run as failed when its process is gone."""

# The default launcher never ends a run whose worker was killed: it stays STARTED for ever, and everything that waits
# for "no run in progress" waits with it. `run_owners.py` finds out whether a process is alive.

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import psutil

from americano_pipelines.defs import run_owners
from americano_pipelines.defs.legacy_tags import rename_legacy_tags
from americano_pipelines.defs.run_tags import BOOT_TAG, HOST_TAG, PID_TAG, RUN_TAG, STARTED_TAG

_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def process_tags(instance: dg.DagsterInstance, run_id: str, pid: int | None = None) -> dict[str, str]:
    """Tags that name the process that executes a run, by its lock file (`run_owners.py`) or by its id and start.

    The run's own id is among them, because a run that is executed again from the UI gets the tags of the first.

    Args:
        instance: this process has its lock file in its home.
        run_id: the run.
        pid: the process, if it is another one, which has no lock file; None for this process.
    """
    process, home = psutil.Process(pid), Path(instance.root_directory)
    # Only its own process can reach an instance in memory.
    has_lock = pid is None and not instance.is_ephemeral
    return {
        RUN_TAG: run_id,
        HOST_TAG: socket.gethostname(),
        PID_TAG: str(process.pid),
        STARTED_TAG: _started(process),
        **(run_owners.owner_tags(home) if has_lock else run_owners.place_tags(home)),
    }


def tag_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag a run with the process that executes it, before any work that may kill the process.

    A process that was started for one step does not count: it ends and the run goes on. Its parent executes the run.
    """
    steps = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTED).records
    events = [record.event_log_entry.get_dagster_event() for record in steps]
    pids = {str(event.engine_event_data.metadata["pid"].value) for event in events}
    executing = os.getppid() if str(os.getpid()) in pids else None
    instance.add_run_tags(run_id, process_tags(instance, run_id, executing))


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process no longer exists, also a process of a container that is gone.

    A run is left as it is if its process cannot be checked from here: a process of another machine, or of another
    container that has another Dagster home.

    Returns:
        The ids of the runs that were marked.
    """
    rename_legacy_tags(instance)
    unfinished = instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))
    own_runs = [run for run in unfinished if run.tags.get(RUN_TAG) == run.run_id]
    home = Path(instance.root_directory)
    # Read after the process is known to be gone: it may have finished the run just before it ended.
    orphans = [instance.get_run_by_id(run.run_id) for run in own_runs if _is_dead(home, run.tags)]
    dead = [run for run in orphans if run is not None and run.status in _UNFINISHED]
    for run in dead:
        message = f"process {run.tags[PID_TAG]} on {run.tags[HOST_TAG]} ended without finishing this run"
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message=message)
        else:
            instance.report_run_failed(run, message=message)
    if not instance.is_ephemeral:
        run_owners.sweep_lock_files(home)
    return [run.run_id for run in dead]


def _is_dead(home: Path, tags: Mapping[str, str]) -> bool:
    gone = run_owners.is_gone(home, tags)
    if gone is not None:
        return gone
    # Runs of earlier releases have no more than the host's name.
    earlier_release = BOOT_TAG not in tags and tags.get(HOST_TAG) == socket.gethostname()
    return (earlier_release or run_owners.counts_here(tags)) and not _alive(tags)


def _alive(tags: Mapping[str, str]) -> bool:
    try:
        process = psutil.Process(int(tags[PID_TAG]))
        # A zombie has ended; its parent has not read its exit status, and in a container perhaps never does.
        return process.status() != psutil.STATUS_ZOMBIE and _started(process) == tags.get(STARTED_TAG)
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> str:
    """Seconds from the machine's start to the process's: setting the clock moves both, not their distance."""
    return f"{process.create_time() - psutil.boot_time():.2f}"
