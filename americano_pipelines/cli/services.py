"""Start and end the processes of `americano dev` and of `americano mlflow` as one group.

A watcher outside the group ends the group when this process is gone.
"""

# The watcher reads a pipe whose other end only this process holds.

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from americano_pipelines.errors import AmericanoError, LockHeldError

HOST = "127.0.0.1"
POLL_SECONDS = 0.2
# Runs that are under way are interrupted and record that; Dagster's own `dev` gives its services a minute.
GRACE_SECONDS = 60.0
ORPHAN_SECONDS = 10.0
_REFUSED = 403
# The shell starts the service only after it reads a line, so none starts unwatched: if this process is killed before
# that, `read` fails.
_START_ON_SIGNAL = ("/bin/sh", "-c", 'read -r word && exec "$@" </dev/null', "sh")
_WATCHER = "from americano_pipelines.cli.services import watch; watch()"


def listen_to_signals() -> None:
    """Handle INT and TERM again: a shell starts background processes with INT ignored, and children inherit that.

    Leave HUP as it is, because `nohup` ignores it on purpose.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def bound_socket(port: int, option: str = "--port") -> socket.socket:
    """A socket on this machine only, bound to a port; refuse a port in use.

    Raises:
        UsageError: the port cannot be used; the message names the option.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as web servers do
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise click.UsageError(f"{HOST}:{port} cannot be used ({error.strerror}); choose another {option}") from None
    return bound


def check_free(port: int, option: str = "--port") -> None:
    """Refuse a port in use: its service would stop, and the others beside it would run without it."""
    bound_socket(port, option).close()


@contextmanager
def exclusive_lock(path: Path, description: str) -> Iterator[int]:
    """Hold a lock file for the block and yield its descriptor. A process that inherits it also holds the lock.

    Args:
        path: the lock file; it contains the description of the holder.
        description: what the error of a second caller shows.

    Raises:
        LockHeldError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
            raise LockHeldError(f"{path} is held by {holder or 'another process'}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{description}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def run_services(
    commands: Sequence[Sequence[str]],
    *,
    port: int,
    lock: int | None = None,
    on_answer: Callable[[], None] = lambda: None,
) -> None:
    """Run commands side by side until INT, TERM, or the end of one of them; then end them all.

    Args:
        commands: programs with their arguments; the first is the web server.
        port: of the web server, which must refuse a foreign request.
        lock: a descriptor that they inherit, so that the lock lasts until the last of them ends.
        on_answer: called once, when the web server answers.

    Raises:
        AmericanoError: a command ended by itself, or the web server answers a foreign request.
    """
    with ExitStack() as stack:
        watcher = subprocess.Popen(  # noqa: S603 - the interpreter we run in, no shell
            [sys.executable, "-c", _WATCHER], stdin=subprocess.PIPE, start_new_session=True, text=True
        )
        pipe = watcher.stdin
        if pipe is None:
            raise AmericanoError("the process that watches over the services has no pipe")
        stack.callback(watcher.wait)
        stack.callback(pipe.close)
        processes: list[subprocess.Popen[bytes]] = []
        descriptors = () if lock is None else (lock,)
        stack.callback(_end, processes)
        with _deferred_signals():
            for command in commands:
                group = processes[0].pid if processes else 0
                process = subprocess.Popen(  # noqa: S603 - the caller's programs
                    [*_START_ON_SIGNAL, *command], stdin=subprocess.PIPE, process_group=group, pass_fds=descriptors
                )
                processes.append(process)
                if not group:
                    pipe.write(f"{processes[0].pid}\n")
                    pipe.flush()
                if process.stdin is not None:
                    with suppress(BrokenPipeError), process.stdin as word:  # it has ended, as `_supervise` says
                        word.write(b"\n")
        _supervise(commands, processes, port, on_answer)


@contextmanager
def _deferred_signals() -> Iterator[None]:
    """Let INT and TERM wait until the end of the block; a mask would also hold them back in the children."""
    waiting: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _frame: waiting.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if waiting:
        raise KeyboardInterrupt


def _supervise(
    commands: Sequence[Sequence[str]],
    processes: Sequence["subprocess.Popen[bytes]"],
    port: int,
    on_answer: Callable[[], None],
) -> None:
    checked = False
    while True:
        for command, process in zip(commands, processes, strict=True):
            if process.poll() is not None:
                raise AmericanoError(
                    f"`{' '.join(command)}` ended with code {process.returncode}; see its output above"
                )
        if not checked:
            checked = _check_web_server(port)
            if checked:
                on_answer()
        time.sleep(POLL_SECONDS)


def _check_web_server(port: int) -> bool:
    """Whether the web server answers; raise an error if it accepts a foreign Host."""
    request = urllib.request.Request(f"http://{HOST}:{port}/server_info", headers={"Host": "elsewhere.example"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        return False
    if status != _REFUSED:
        raise AmericanoError(
            f"the web server answers requests of foreign pages (status {status}, not {_REFUSED}); "
            "its version is not one that was tested: install the locked one"
        )
    return True


def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Interrupt the group as Ctrl-C would and wait for it. The watcher ends what remains."""
    if not processes:
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # once is enough; a second one must not stop this halfway
        signal.signal(number, signal.SIG_IGN)
    with suppress(ProcessLookupError):
        os.killpg(processes[0].pid, signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, deadline - time.monotonic()))


def watch() -> None:
    """Wait until the process at the other end of stdin ends, then end the group that it named."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = [int(line) for line in sys.stdin]
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
            deadline = time.monotonic() + ORPHAN_SECONDS
            while time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                os.killpg(group, 0)  # no such group: all have ended
            os.killpg(group, signal.SIGKILL)
