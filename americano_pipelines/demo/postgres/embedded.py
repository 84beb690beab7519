"""Run a real Postgres server in a folder: create, start, check, stop.

The server outlives the Python process that started it; the caller stops it.
"""

import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import psutil
from filelock import FileLock, Timeout

from americano_pipelines.demo.postgres.cluster import (
    EmbeddedPostgresError,
    admit_system_user,
    create_cluster,
    let_through,
    make_socket_folder,
    run_program,
    socket_folder,
)


def is_alive(pgdata: Path) -> bool:
    """Whether the folder's server is alive; another process that has its number now does not count."""
    return _process(pgdata) is not None


def interrupt(pgdata: Path) -> None:
    """Ask the server, if it lives, to end its sessions and stop: Postgres' fast shutdown."""
    process = _process(pgdata)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)


def remove_stale_pid_file(pgdata: Path, socket: Path) -> None:
    """Remove the pid file of a dead server if another process has its number by now.

    Postgres ignores the file if the number is free, and refuses to start if it is taken. That is common where numbers
    are low, such as in a restarted container.

    Args:
        pgdata: The data folder of a server that is not alive.
        socket: Its unix socket, which has a lock file of its own.
    """
    number = _pid_in_file(pgdata)
    if number is not None and psutil.pid_exists(number):
        (pgdata / "postmaster.pid").unlink()
        socket.with_name(f"{socket.name}.lock").unlink(missing_ok=True)


def _process(pgdata: Path) -> psutil.Process | None:
    number = _pid_in_file(pgdata)
    if number is None:
        return None
    try:
        process = psutil.Process(number)
        return process if str(pgdata) in process.cmdline() else None
    except psutil.NoSuchProcess:  # also a zombie, whose parent has not read its exit status
        return None


def _pid_in_file(pgdata: Path) -> int | None:
    """The process number in the pid file; None without the file, or while it is being written."""
    try:
        first, *_ = (pgdata / "postmaster.pid").read_text().splitlines() or [""]
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise EmbeddedPostgresError(f"{pgdata} belongs to another user") from error
    return int(first) if first.strip().isdigit() else None


_SOCKET_PORT = 5432
_TIMEOUT_SECONDS = 60.0  # for a start or a stop: recovery after a crash takes a while on a slow disk
_PAUSE = 0.1  # seconds between two attempts
_LOG_TAIL = 20  # lines
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class EmbeddedPostgres:
    """A Postgres server that lives in one folder.

    Without a port it listens on a unix socket only, in a folder that only the server's user (and root) can
    enter, and therefore needs no password. With a port it listens on 127.0.0.1 too, where every user of the
    machine can connect, and demands passwords (scram-sha-256) everywhere. As root, the server runs as the system user
    `pgserver`.
    """

    def __init__(
        self,
        pgdata: Path,
        *,
        port: int | None = None,
        superuser_password: str | None = None,
        server_settings: Mapping[str, str] = _NO_SETTINGS,
    ) -> None:
        """Describe a server; nothing is created or started yet.

        Args:
            pgdata: The data folder; made at the first start, with the folders above it.
            port: TCP port on 127.0.0.1, or None for the unix socket alone.
            superuser_password: The password of the superuser `postgres`, fixed at the first start. Needed with a port.
            server_settings: Further settings of the server, e.g. `{"max_connections": "20"}`; used at every start.

        Raises:
            EmbeddedPostgresError: If a port is given without a password.
        """
        if port is not None and superuser_password is None:
            raise EmbeddedPostgresError("a server on a TCP port needs a superuser_password")
        self.pgdata = pgdata.expanduser().resolve()
        self._tcp_port = port
        self._password = superuser_password
        self._settings = dict(server_settings)

    @property
    def host(self) -> str:
        """What libpq calls the host: 127.0.0.1, or the folder of the unix socket."""
        return str(socket_folder(self.pgdata, self.port)) if self._tcp_port is None else "127.0.0.1"

    @property
    def port(self) -> int:
        """The port for libpq; with a unix socket it is a part of the socket's name."""
        return _SOCKET_PORT if self._tcp_port is None else self._tcp_port

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.pgdata / "server.log"

    def is_running(self) -> bool:
        """Whether this folder's server is alive, also when another process started it."""
        return is_alive(self.pgdata)

    def start(self) -> None:
        """Create the folder if need be, start the server, and wait until it takes connections.

        A server that runs already is left alone. Several processes may start the same one at once.

        Raises:
            EmbeddedPostgresError: If it cannot be created or started; quotes the end of the server's log.
        """
        with self._alone():
            deadline = time.monotonic() + _TIMEOUT_SECONDS
            # Connect: the file of a server that was just killed still exists for a moment.
            while not self._answers():
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(f"the server in {self.pgdata} does not answer{self._log_tail()}")
                if is_alive(self.pgdata):
                    time.sleep(_PAUSE)
                else:
                    self._prepare()
                    self._launch(deadline)

    def stop(self) -> None:
        """Stop the server and end its sessions, losing nothing that was committed; nothing to do when it does not run.

        Raises:
            EmbeddedPostgresError: If it does not stop; quotes the end of the server's log.
        """
        if not self.pgdata.exists():
            return
        with self._alone():
            deadline = time.monotonic() + _TIMEOUT_SECONDS
            # Not by `pg_ctl stop`, which waits a minute for the notes of a server that was killed meanwhile.
            interrupt(self.pgdata)
            while is_alive(self.pgdata):
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(f"the server in {self.pgdata} does not stop{self._log_tail()}")
                time.sleep(_PAUSE)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.pgdata.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.pgdata.with_name(f"{self.pgdata.name}.lock"), timeout=3 * _TIMEOUT_SECONDS)
        try:
            lock.acquire()
        except Timeout as error:
            raise EmbeddedPostgresError(f"another process keeps {lock.lock_file} locked") from error
        try:
            yield
        finally:
            lock.release()

    def _prepare(self) -> None:
        admit_system_user()
        let_through(self.pgdata)
        create_cluster(self.pgdata, self._password, timeout=_TIMEOUT_SECONDS)
        folder = socket_folder(self.pgdata, self.port)
        if folder != self.pgdata:
            make_socket_folder(folder, self.pgdata)
        remove_stale_pid_file(self.pgdata, folder / f".s.PGSQL.{self.port}")

    def _answers(self) -> bool:
        if not is_alive(self.pgdata):
            return False
        where = ("-q", "-h", str(socket_folder(self.pgdata, self.port)), "-p", str(self.port))
        try:
            run_program("pg_isready", where, directory=self.pgdata, timeout=_TIMEOUT_SECONDS)
        except EmbeddedPostgresError:
            return False
        return True

    def _launch(self, deadline: float) -> None:
        settings = {
            "listen_addresses": "" if self._tcp_port is None else "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": f'"{socket_folder(self.pgdata, self.port)}"',
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._settings,
        }
        options = " ".join(shlex.quote(f"--{name}={value}") for name, value in settings.items())
        command = (
            "start",
            "-D",
            str(self.pgdata),
            "-l",
            str(self.log),
            "-o",
            options,
            "-w",
            "-t",
            str(int(_TIMEOUT_SECONDS)),
        )
        offset = self.log.stat().st_size if self.log.exists() else 0
        try:
            run_program("pg_ctl", command, directory=self.pgdata, timeout=2 * _TIMEOUT_SECONDS)
        except EmbeddedPostgresError as error:
            words = self._log_tail(offset)
            # The children of a killed server live a moment longer; until they end Postgres refuses to start.
            if "shared memory block" not in words or time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"{error}{words}") from error
            time.sleep(_PAUSE)

    def _log_tail(self, offset: int = 0) -> str:
        """The end of the log after its first `offset` bytes, which earlier starts wrote."""
        if not self.log.exists():
            return ""
        lines = self.log.read_bytes()[offset:].decode(errors="replace").splitlines()
        return "\n".join(("", f"The end of {self.log}:", *lines[-_LOG_TAIL:]))
