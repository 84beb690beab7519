"""What a server notes about itself in its data folder, and whether that is still true.

Here: reading `postmaster.pid` and holding it against the running processes. Not here: when to start or stop
(`embedded`).
"""

import signal
from contextlib import suppress
from pathlib import Path

import psutil

from americano_pipelines.demo.programs import EmbeddedPostgresError


def is_alive(pgdata: Path) -> bool:
    """Tell whether the folder's server lives; a process that merely inherited its number does not count."""
    return _process(pgdata) is not None


def interrupt(pgdata: Path) -> None:
    """Ask the server, if it lives, to end its sessions and stop: Postgres' fast shutdown."""
    process = _process(pgdata)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)


def forget_dead_server(pgdata: Path, socket: Path) -> None:
    """Remove a dead server's notes when another process bears its number by now.

    Postgres itself ignores the note of a number that is free. A number that is taken makes it refuse to start, which
    is common where numbers are low, e.g. in a restarted container.

    Args:
        pgdata: The data folder of a server that is not alive.
        socket: Its unix socket, which has a note of its own.
    """
    number = _noted_number(pgdata)
    if number is not None and psutil.pid_exists(number):
        (pgdata / "postmaster.pid").unlink()
        socket.with_name(f"{socket.name}.lock").unlink(missing_ok=True)


def _process(pgdata: Path) -> psutil.Process | None:
    number = _noted_number(pgdata)
    if number is None:
        return None
    try:
        process = psutil.Process(number)
        return process if str(pgdata) in process.cmdline() else None
    except psutil.NoSuchProcess:  # includes a dead one that its parent has not yet collected
        return None


def _noted_number(pgdata: Path) -> int | None:
    """The process number on the note's first line; None without a note, or while it is being written."""
    try:
        first, *_ = (pgdata / "postmaster.pid").read_text().splitlines() or [""]
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise EmbeddedPostgresError(f"{pgdata} belongs to another user") from error
    return int(first) if first.strip().isdigit() else None
