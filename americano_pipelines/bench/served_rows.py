"""Publish rows for the serving benchmark, and start the API and Datasette on them."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect, connect_to_read
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import DataError, ResourceError
from americano_pipelines.settings import PROJECT_ROOT, Settings, load_settings
from americano_pipelines.warehouse.refresh import refresh

HOST = "127.0.0.1"
_FILES = {
    "behavioral_events": "serving_events",
    "experiment_protocols": "serving_protocols",
    "phase_assignments": "serving_phases",
}
_COMMAND = (sys.executable, "-c", "from americano_pipelines.cli import main; main()")
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: on this machine.
        process_id: of its process.
        key: what it asks for as bearer token; empty for none.
    """

    port: int
    process_id: int
    key: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What every request sends."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def publish(folder: Path, base: Settings, rows: int) -> Settings:
    """Publish the rows in a data folder of their own, or publish them again with other numbers.

    Args:
        folder: where the source files and the data folder are.
        base: memory limit and threads.
        rows: events of the large protocol.

    Returns:
        The settings of that data folder.

    Raises:
        DataError: nothing was published.
    """
    sources = {f"{name}_parquet": str(folder / f"{name}.parquet") for name in _FILES}
    settings = _settings(folder, base, sources)
    with connect(settings) as connection:
        for name, file in _FILES.items():
            query = sql.render(sql.load("bench", file), rows=str(rows)) if "events" in name else sql.load("bench", file)
            connection.execute(f"COPY ({query}) TO '{sql.escape(str(folder / name))}.parquet' (FORMAT parquet)")
    if refresh(settings, StageTimer()).path is None:
        raise DataError("the benchmark's rows could not be published")
    return settings


def _settings(folder: Path, base: Settings, sources: dict[str, str]) -> Settings:
    kept = {
        "americano_memory_limit": base.americano_memory_limit,
        "americano_threads": base.americano_threads,
    }
    unset = dict.fromkeys(Settings.model_fields, "")
    return load_settings(**unset | kept | sources | {"americano_data_dir": folder / "data", "log_level": "WARNING"})


@contextmanager
def api(settings: Settings) -> Iterator[Server]:
    """Run `americano api` on a data folder for the block."""
    environment = {
        **os.environ,
        **{name.upper(): "" for name in Settings.model_fields},
        "AMERICANO_ROOT": str(PROJECT_ROOT),
        "AMERICANO_DATA_DIR": str(settings.paths.root),
        "AMERICANO_MEMORY_LIMIT": settings.americano_memory_limit,
        "AMERICANO_THREADS": str(settings.americano_threads),
        "AMERICANO_API_RATE": "1000000",
        "AMERICANO_API_TIMEOUT": "600",
        "LOG_LEVEL": "WARNING",
    }
    create = [*_COMMAND, "api", "key", "create", "bench", "--scope", "admin"]
    created = subprocess.run(create, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    key = created.stdout.strip()
    port = _free_port()
    with _running([*_COMMAND, "api", "--port", str(port)], environment, f"http://{HOST}:{port}/v1/health") as process:
        yield Server(port, process, key)


@contextmanager
def datasette(program: str, folder: Path, published: Path, settings: Settings) -> Iterator[Server]:
    """Run Datasette on the days of the small protocol, in SQLite, for the block.

    Args:
        program: its command.
        folder: where its file is written.
        published: the published file.
        settings: of the session that reads it.
    """
    file = folder / "days.db"
    with connect_to_read(settings, published) as connection:
        rows = connection.execute(sql.load("bench", "serving_days"), ["small", 1000]).fetchall()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE days (day INTEGER, starts_at TEXT, phase TEXT, condition TEXT, value REAL, n)")
        texts = [
            tuple(str(cell) if cell is not None and index == 1 else cell for index, cell in enumerate(row))
            for row in rows
        ]
        database.executemany("INSERT INTO days VALUES (?, ?, ?, ?, ?, ?)", texts)
    port = _free_port()
    command = [program, "serve", "--immutable", str(file), "--host", HOST, "--port", str(port)]
    options = ["--setting", "max_returned_rows", "10000", "--setting", "default_page_size", "1000"]
    with _running([*command, *options], dict(os.environ), f"http://{HOST}:{port}/-/versions.json") as process:
        yield Server(port, process)


@contextmanager
def _running(command: list[str], environment: dict[str, str], address: str) -> Iterator[int]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ResourceError(f"{' '.join(command)} does not answer")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - an address of this machine
            return bool(answer.status)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
