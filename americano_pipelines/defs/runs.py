"""Runs and the processes that execute them: a run whose process is gone is marked failed.

Here belongs only that. The default launcher never ends a run whose worker was killed: it stays STARTED for
ever, and everything that waits for "no run in progress" waits with it.
"""

import os
import socket
from collections.abc import Mapping

import dagster as dg
import psutil

HOST_TAG, PID_TAG, STARTED_TAG = "americano/host", "americano/pid", "americano/process_started"
RUN_TAG = "americano/run"
_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def process_tags(run_id: str, pid: int | None = None) -> dict[str, str]:
    """Tags that say which process executes a run; the start time tells a reused process id apart.

    The run's own id is among them, for a run that is executed again from the UI is given the tags of the first.

    Args:
        run_id: the run.
        pid: its process, None for this one.
    """
    process = psutil.Process(pid)
    return {
        RUN_TAG: run_id,
        HOST_TAG: socket.gethostname(),
        PID_TAG: str(process.pid),
        STARTED_TAG: _started(process),
    }


def sign(instance: dg.DagsterInstance, run_id: str) -> None:
    """Note on a run which process executes it, before any work that this process may die of.

    A process that was started for one step is none to go by: it ends, and the run goes on. Its parent executes the run.
    """
    steps = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTED).records
    events = [record.event_log_entry.get_dagster_event() for record in steps]
    pids = {str(event.engine_event_data.metadata["pid"].value) for event in events}
    instance.add_run_tags(run_id, process_tags(run_id, os.getppid() if str(os.getpid()) in pids else None))


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of this host failed whose process no longer exists.

    Returns:
        Their run ids.
    """
    unfinished = dg.RunsFilter(statuses=_UNFINISHED, tags={HOST_TAG: socket.gethostname()})
    ours = [run for run in instance.get_runs(filters=unfinished) if run.tags.get(RUN_TAG) == run.run_id]
    dead = [run for run in ours if not _alive(run.tags)]
    for run in dead:
        message = f"process {run.tags[PID_TAG]} on {run.tags[HOST_TAG]} ended without finishing this run"
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message=message)
        else:
            instance.report_run_failed(run, message=message)
    return [run.run_id for run in dead]


def _alive(tags: Mapping[str, str]) -> bool:
    try:
        process = psutil.Process(int(tags[PID_TAG]))
        # A zombie did end; who started it has only not asked how (in a container perhaps nobody ever does).
        return process.status() != psutil.STATUS_ZOMBIE and _started(process) == tags.get(STARTED_TAG)
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> str:
    """Seconds from the machine's start to the process's: setting the clock moves both, not their distance."""
    return f"{process.create_time() - psutil.boot_time():.2f}"
