"""`americano ...` in processes of their own that need not import everything first: forked from one that has.

As a program it is that one: a line of JSON says what to run, with which environment and limits, and it answers
with the process id; when that has ended, with the exit code.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from americano_pipelines_tests.conftest import Done, environment
from americano_pipelines_tests.sqlite_stores import open_sooner
from americano_pipelines_tests.unsigned_extensions import load_sooner

STOP_SECONDS = 120


class Running:
    """A command at work."""

    def __init__(self, pid: int, ended: Callable[[], int], folder: Path) -> None:
        assert pid > 1, pid
        self.pid = pid
        self._ended, self._folder = ended, folder
        self._code: int | None = None

    def stop(self) -> None:
        """Let it stand still wherever it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def done(self) -> Done:
        """Wait for its end."""
        if self._code is None:
            self._code = self._ended()
        code = self._code
        out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        assert "Traceback" not in out + err, out + err
        return Done(code, out, err)


class Commands:
    """Starts commands; one at a time."""

    def __init__(self, folder: Path, *, through: Sequence[str] = ()) -> None:
        """Start the process to fork from.

        Args:
            folder: for what the commands write.
            through: a program and its arguments that runs it with other rights.
        """
        self._folder = folder
        self._last: Running | None = None
        self._process = subprocess.Popen(
            [*through, sys.executable, "-m", "americano_pipelines_tests.sync.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments: str, data_dir: Path, file_size: int | None = None, **values: Any) -> Running:
        """Start `americano` with settings.

        Args:
            arguments: of the command line.
            data_dir: the data folder.
            file_size: the longest file the process may write, in bytes.
            values: settings, by field name.
        """
        if self._last is not None:
            self._last.done()  # of a test that failed meanwhile
        request = {
            "arguments": arguments,
            "environment": environment(data_dir, **values),
            "file_size": file_size,
            "folder": str(self._folder),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        self._last = Running(self._answer(), self._answer, self._folder)
        return self._last

    def run(self, *arguments: str, **values: Any) -> Done:
        """Start a command and wait for its end."""
        return self.start(*arguments, **values).done()

    def close(self) -> None:
        self._process.kill()
        self._process.wait(timeout=STOP_SECONDS)

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def _run(request: dict[str, Any]) -> None:
    """In the forked process: become the command."""
    from americano_pipelines.cli import main
    from americano_pipelines.defs import step_errors

    for descriptor, name in ((1, "out"), (2, "err")):
        place = os.open(Path(request["folder"]) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(place, descriptor)
    os.environ.clear()
    os.environ.update(cast("dict[str, str]", request["environment"]))
    step_errors.RETRY_SECONDS = 0
    if request["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
    sys.argv = ["americano", *request["arguments"]]
    signal.alarm(STOP_SECONDS)
    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        # Without an orderly end: libraries would tidy up after threads that were not forked along.
        os._exit(int(ended.code or 0))


def _serve() -> None:
    open_sooner()
    load_sooner()
    from americano_pipelines.defs.sync import launch_sync  # noqa: F401 - all that a command would import

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))
        for answer in (pid, None):
            number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if answer is None else answer
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _serve()
