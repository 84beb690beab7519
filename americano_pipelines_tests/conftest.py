"""What all tests share: a real Postgres, databases cut from templates, settings that see no `.env`."""

import gc
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg2
import pytest
from psycopg2 import sql

from americano_pipelines.demo.postgres.cluster import SUPERUSER
from americano_pipelines.demo.postgres.embedded import EmbeddedPostgres
from americano_pipelines.settings import PROJECT_ROOT, Settings, load_settings
from americano_pipelines.warehouse.column_lineage import ColumnLineage

if TYPE_CHECKING:
    from americano_pipelines_tests.mlflow_server import MlflowServer
    from americano_pipelines_tests.postgres_servers import Kinds


SHARED = PROJECT_ROOT.parent / "shared"
SYNC_ROLE = "americano_sync"
VARIABLES = [name.upper() for name in Settings.model_fields]
# Empty counts as unset. One thread of DuckDB: of tables this small a second one gets no part, and costs a third more.
VALUES = {**dict.fromkeys(VARIABLES, ""), "AMERICANO_THREADS": "1"}
# The files that take longest, longest first: the last one would run alone, while the other workers have nothing to do.
LONGEST = (
    # With the long tests.
    *("sync/test_killed.py", "sync/test_memory.py", "sync/test_any_history.py", "sync/test_types.py"),
    *("defs/analyses/test_mlflow_status.py", "sync/test_faults_on_disk.py", "serving/test_scope.py"),
    *("defs/analyses/test_reconcile_sensor.py", "defs/analyses/test_request_processes.py", "bench/test_bench.py"),
    *("cli/test_demo.py", "erasure/test_purge_analyses.py", "serving/test_swap_storm.py", "sync/test_writers.py"),
    *("cli/test_read_only.py", "test_wheel.py", "statistics/test_calibration.py", "erasure/test_purge_other_key.py"),
    # Without them.
    *("erasure/test_purge.py", "defs/analyses/test_assets.py", "provenance/verify/test_tampering.py"),
    *("sync/test_faults.py", "sync/test_regressions.py", "defs/sync/test_nightly.py", "serving/test_limits.py"),
    *("cli/test_sync.py", "defs/analyses/test_training_asset.py", "warehouse/test_refresh.py", "cli/test_dev.py"),
    *("analysis/test_declared_improvement.py", "analysis/test_abab.py", "warehouse/test_modes.py"),
    *("defs/test_run_processes.py", "defs/sync/test_failures.py", "cli/test_doctor.py", "sync/test_any_files.py"),
)
_RANKS = {name: rank for rank, name in enumerate(LONGEST)}


def pytest_configure() -> None:
    """Patch what test modules import. To collect them makes no garbage, and the search for it takes a third of that."""
    from americano_pipelines_tests.sqlite_stores import open_sooner
    from americano_pipelines_tests.unsigned_extensions import load_sooner

    gc.disable()
    open_sooner()
    load_sooner()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; within a file keep the order."""
    folder = Path(__file__).parent
    items.sort(key=lambda item: _RANKS.get(item.path.relative_to(folder).as_posix(), len(LONGEST)))


def pytest_collection_finish() -> None:
    """Leave the imported modules and the tests out of each search for garbage: a twentieth of the time of a sync."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """An empty value wins over `.env` too, in this process and in those the tests start.

    For the session, because fixtures of a module read settings too: `make demo` writes a `.env` beside the tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VALUES.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def _no_settings_from_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what the code under test sets in the environment."""
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session", autouse=True)
def _lineage_traced_once() -> Iterator[None]:
    """Trace the columns of a statement once: most tests publish the same views, and it is a sixth of their sync."""
    from americano_pipelines.warehouse import build

    traced: dict[str, ColumnLineage] = {}
    trace = build.column_lineage

    def column_lineage(statement: str, columns_of: Mapping[str, Sequence[str]]) -> ColumnLineage:
        key = json.dumps([statement, columns_of])
        if key not in traced:
            traced[key] = trace(statement, columns_of)
        return traced[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "column_lineage", column_lineage)
        yield


class Postgres(Protocol):
    """A server that can be started and stopped, of whatever version."""

    pgdata: Path

    @property
    def port(self) -> int: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def is_running(self) -> bool: ...


@dataclass(frozen=True)
class Server:
    """The suite's Postgres: TCP on 127.0.0.1, passwords by scram-sha-256."""

    postgres: Postgres
    password: str

    def connect(self, database: str, user: str = SUPERUSER) -> Any:
        """An autocommitting connection."""
        link = psycopg2.connect(
            host="127.0.0.1", port=self.postgres.port, user=user, password=self.password, dbname=database
        )
        link.autocommit = True
        return link


@dataclass(frozen=True)
class Database:
    """One database of the suite's server."""

    server: Server
    name: str

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run a statement as superuser."""
        with closing(self.server.connect(self.name)) as link, link.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def variables(self, **changed: Any) -> dict[str, Any]:
        """Settings (field names) that point at it as the sync role."""
        return {
            "pg_host": "127.0.0.1",
            "pg_port": self.server.postgres.port,
            "pg_user": SYNC_ROLE,
            "pg_password": self.server.password,
            "pg_database": self.name,
        } | changed


@dataclass(frozen=True)
class Done:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder for servers. Not below pytest's own: a second session at work closes that to the server's user."""
    folder = Path(tempfile.mkdtemp(prefix="americano-suite-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(server_folder: Path) -> Iterator[Server]:
    with new_server(server_folder / "postgres") as suite:
        yield suite


@contextmanager
def new_server(folder: Path) -> Iterator[Server]:
    """A server with the templates that databases are cut from, and the sync role; stopped at the end."""
    password = new_password()
    postgres = EmbeddedPostgres(
        folder,
        port=free_port(),
        superuser_password=password,
        # Without whole pages in its log a database is cut from a template in a third of the time.
        server_settings={"fsync": "off", "full_page_writes": "off", "max_connections": "60"},
    )
    try:
        postgres.start()
        suite = Server(postgres, password)
        filled(suite)
        yield suite
    finally:
        postgres.stop()


def new_password() -> str:
    """A quote and a backslash are in it: escaping must hold."""
    return f"pw'{secrets.token_hex(8)}\\x"


def filled(suite: Server) -> None:
    """Make the templates that databases are cut from, and the sync role."""
    with closing(suite.connect("postgres")) as link, link.cursor() as cursor:
        for template in ("prisma_template", "older_template"):
            cursor.execute(f"CREATE DATABASE {template}")
    fill_prisma(suite, "prisma_template")
    fill(suite, "older_template", (Path(__file__).parent / "older_schema.sql").read_text())
    with closing(suite.connect("postgres")) as link, link.cursor() as cursor:
        cursor.execute(f"ALTER ROLE {SYNC_ROLE} PASSWORD %s", (suite.password,))


def fill_prisma(suite: Server, database: str, encoding: str = "utf-8") -> None:
    """Make the app's tables and their rows, in the characters that an encoding has."""
    fill(suite, database, files("americano_pipelines.demo").joinpath("schema.sql").read_text())
    rows = (Path(__file__).parent / "prisma_rows.sql").read_text(encoding="utf-8")
    fill(suite, database, rows.encode(encoding, "replace").decode(encoding))


def fill(suite: Server, database: str, script: str) -> None:
    """Run a script in one transaction."""
    with closing(suite.connect(database)) as link:
        link.autocommit = False
        with link, link.cursor() as cursor:
            cursor.execute(script)


@pytest.fixture(scope="session")
def postgres_kinds(server: Server, server_folder: Path) -> Iterator["Kinds"]:
    """Kinds of real servers, each started when it is first asked for: `postgres_kinds("standby").database()`."""
    from americano_pipelines_tests.postgres_servers import Kinds

    kinds = Kinds(server, server_folder)
    yield kinds
    kinds.close()


@pytest.fixture(scope="session")
def mlflow_server(server: Server, server_folder: Path) -> Iterator["MlflowServer"]:
    """The service of docker-compose.yml with its records in a database of the suite's Postgres."""
    from americano_pipelines_tests.mlflow_server import MlflowServer

    with closing(server.connect("postgres")) as link, link.cursor() as cursor:
        cursor.execute("CREATE DATABASE americano_mlflow")
    variables = {
        "MLFLOW_DB_USER": SUPERUSER,
        "MLFLOW_DB_PASSWORD": server.password,
        "MLFLOW_DB_HOST": "127.0.0.1",
        "MLFLOW_DB_PORT": str(server.postgres.port),
    }
    started = MlflowServer(free_port(), server_folder / "mlflow", variables)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: it takes seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def new_database(server: Server) -> Iterator[Callable[[str], Database]]:
    """Make databases: `new_database("prisma")` or `new_database("older")`, small and filled."""
    databases: list[Database] = []

    def make(kind: str = "prisma") -> Database:
        databases.append(cut(server, kind))
        return databases[-1]

    yield make
    with closing(server.connect("postgres")) as link, link.cursor() as cursor:
        for database in databases:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))


def cut(server: Server, kind: str) -> Database:
    """Make a database from a template."""
    name = f"{kind}_{secrets.token_hex(4)}"
    with closing(server.connect("postgres")) as link, link.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(f"{kind}_template"))
        )
        cursor.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(SYNC_ROLE))
        )
    return Database(server, name)


@pytest.fixture
def prisma(new_database: Callable[[str], Database]) -> Database:
    """A database with the app's schema: 4,000 events of 8 learners, 2 protocols, 8 phases, 2 analysis runs."""
    return new_database("prisma")


@pytest.fixture
def older(new_database: Callable[[str], Database]) -> Database:
    """A database with the older naming: `learner_id`, `event_time`, `phase`, `experiment_id`; events only."""
    return new_database("older")


@pytest.fixture
def settings_for(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a data folder of this test's own; keyword arguments are field values."""

    def make(**values: Any) -> Settings:
        return load_settings(**{"americano_data_dir": tmp_path / "data", "log_level": "WARNING"} | values)

    return make


@pytest.fixture
def americano(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command in a process of its own: `americano("sync", "--json", pg_host=...)`."""

    def run(*arguments: str, timeout: float = 120, **values: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from americano_pipelines.cli import main; main()", *arguments],
            env=environment(tmp_path / "data", **values),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


def file_hashes(*folders: Path) -> dict[str, str]:
    """Path to hash of every file below folders; a folder counts too, and a link by where it leads."""
    hashes = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        hashes[str(path)] = hashlib.sha256(content).hexdigest()
    return hashes


def environment(data_dir: Path, **values: Any) -> dict[str, str]:
    """The environment of a process whose settings are these, and nothing from outside."""
    texts = {k.upper(): json.dumps(v) if isinstance(v, dict) else str(v) for k, v in values.items()}
    return {**os.environ, **VALUES, "AMERICANO_DATA_DIR": str(data_dir), **texts}


@pytest.fixture
def shared() -> Path:
    """Real input that lies beside the project where it is developed; elsewhere tests that use it are left out."""
    if not SHARED.is_dir():
        pytest.skip("no shared folder beside the project")
    return SHARED
