"""Measure the API: kept answers beside Datasette, what it adds to a query, an export, and a new snapshot."""

import http.client
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from americano_pipelines.bench.served_rows import HOST, Server, api, datasette, publish
from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect_to_read
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.errors import DataError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.snapshots import current

MIN_ROWS_OF_TARGETS = 1_000_000
PLAN = (
    "kept answer",
    "Datasette, same rows",
    "kept answer, times Datasette's rate",
    "not modified (304)",
    "bare query, p50",
    "same answer by the API, p50",
    "added to the bare query, p50",
    "added to the bare query, fastest",
    "added to the bare query, CPU time",
    "export as Arrow",
    "CPU time of that export",
    "more memory for that export",
    "delay until answers use a new snapshot",
)
_SERIES, _EXPORT = "/v1/protocols/small/series", "/v1/protocols/large/events.arrow"
_DATASETTE = "/days/days.json?_shape=objects"
_CLIENTS, _ROUNDS, _ROUND_SECONDS = 2, 3, 1.0
_QUERIES = 62
_EXPORTS = 3
_NEW_SNAPSHOT_SECONDS = 30.0
_MB, _CHUNK = 1_000_000, 1 << 20
_OK, _NOT_MODIFIED = 200, 304


@dataclass(frozen=True)
class ServingFigure:
    """A line of the table.

    Attributes:
        what: what was measured.
        value: the figure.
        unit: its unit.
        target: the least of a rate, or the most of anything else; None where there is none.
        is_rate: whether more is better.
    """

    what: str
    value: float
    unit: str
    target: float | None = None
    is_rate: bool = False

    @property
    def within(self) -> bool | None:
        """Whether the target is met, None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.is_rate else self.value <= self.target


def measure_serving(
    base: Settings, rows: int, peer: str | None, announce: Callable[[str], None]
) -> list[ServingFigure]:
    """Take all measurements.

    Args:
        base: the data folder to work under, memory limit and threads.
        rows: rows of the export.
        peer: the command of Datasette, None to leave it out.
        announce: called with the name of the next measurement.

    Raises:
        DataError: the API answers with other rows than the query, or does not answer with a new file.
        ResourceError: a server does not start.
    """
    with temporary_folder(base.paths.root, "bench") as folder:
        announce("publish the rows")
        settings = publish(folder, base, rows)
        published = current(settings.paths)
        if published is None:
            raise DataError("the benchmark's rows could not be published")
        with api(settings) as server:
            figures = _rates(server, peer, folder, published, settings, announce)
            announce(PLAN[6])
            figures += _added(server, published, settings)
            announce(PLAN[9])
            figures += _export(server, rows)
            announce(PLAN[12])
            figures.append(_new_snapshot(server, folder, base, rows))
    if rows >= MIN_ROWS_OF_TARGETS:
        return figures
    return [ServingFigure(figure.what, figure.value, figure.unit) for figure in figures]


def _rates(
    server: Server,
    peer: str | None,
    folder: Path,
    published: Path,
    settings: Settings,
    announce: Callable[[str], None],
) -> list[ServingFigure]:
    tag = _answer(server, _SERIES)[1].get("etag", "")
    if peer is None:
        announce(PLAN[0])
        own_rate, unchanged = _rate(server, _SERIES, {}), _rate(server, _SERIES, {"If-None-Match": tag})
        return [ServingFigure(PLAN[0], own_rate, "/s"), ServingFigure(PLAN[3], unchanged, "/s")]
    with datasette(peer, folder, published, settings) as other:
        if len(_answer(other, _DATASETTE)[0]) < len(_answer(server, _SERIES)[0]) / 2:
            raise DataError("Datasette answers with fewer rows than the API")
        announce(PLAN[2])
        # In turns, so that a disturbance meets both.
        pairs = [(_rate(server, _SERIES, {}), _rate(other, _DATASETTE, {})) for _ in range(_ROUNDS)]
    own_rate, peer_rate = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    ratio = statistics.median(own / of_peer for own, of_peer in pairs)
    return [
        ServingFigure(PLAN[0], own_rate, "/s"),
        ServingFigure(PLAN[1], peer_rate, "/s"),
        ServingFigure(PLAN[2], ratio, "times", 5.0, is_rate=True),
        ServingFigure(PLAN[3], _rate(server, _SERIES, {"If-None-Match": tag}), "/s"),
    ]


def _rate(server: Server, path: str, headers: Mapping[str, str]) -> float:
    """Answers a second to two clients, each a process with one connection."""
    with ProcessPoolExecutor(_CLIENTS, mp_context=multiprocessing.get_context("spawn")) as pool:
        counts = [pool.submit(_ask_for_a_while, server, path, dict(headers)) for _ in range(_CLIENTS)]
        return sum(count.result() for count in counts)


def _ask_for_a_while(server: Server, path: str, headers: dict[str, str]) -> float:
    """Answers a second to one connection. An HTTP library would take more time than the API does."""
    lines = {"Host": HOST, **server.headers, **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    request = f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()
    count, started = 0, time.perf_counter()
    with socket.create_connection((HOST, server.port)) as connection, connection.makefile("rb") as answers:
        while (spent := time.perf_counter() - started) < _ROUND_SECONDS:
            connection.sendall(request)
            status = int(answers.readline().split()[1])
            if status not in {_OK, _NOT_MODIFIED}:
                raise DataError(f"{path} is answered with {status}")
            _read_body(answers)
            count += 1
    return count / spent


def _read_body(answers: BinaryIO) -> None:
    length = 0
    while (line := answers.readline().lower()) != b"\r\n":
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        elif line.startswith(b"transfer-encoding:"):
            length = -1
    if length >= 0:
        answers.read(length)
        return
    while size := int(answers.readline(), 16):
        answers.read(size + 2)
    answers.readline()


def _answer(server: Server, path: str) -> tuple[bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(HOST, server.port)
    connection.request("GET", path, headers=server.headers)
    answer = connection.getresponse()
    body, headers = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    if answer.status != _OK:
        raise DataError(f"{path} is answered with {answer.status}: {body[:200].decode(errors='replace')}")
    return body, headers


def _added(server: Server, published: Path, settings: Settings) -> list[ServingFigure]:
    """Ask for ever longer pages of the days, none of which was kept, in turns with the same query in a session."""
    bare: list[float] = []
    served: list[float] = []
    connection = http.client.HTTPConnection(HOST, server.port)
    statement, process = sql.load("bench", "serving_days"), psutil.Process(server.process_id)
    bare_cpu, served_cpu = 0.0, _cpu_seconds(process)
    with connect_to_read(settings, published) as session:
        session.execute(statement, ["small", 1]).fetchall()
        for limit in range(2, _QUERIES):
            started, before = time.perf_counter(), time.process_time()
            session.execute(statement, ["small", limit]).fetchall()
            bare_cpu += time.process_time() - before
            bare.append((time.perf_counter() - started) * 1000)
            started = time.perf_counter()
            connection.request("GET", f"{_SERIES}?limit={limit}", headers=server.headers)
            connection.getresponse().read()
            served.append((time.perf_counter() - started) * 1000)
    connection.close()
    served_cpu = _cpu_seconds(process) - served_cpu
    query, whole = statistics.median(bare), statistics.median(served)
    return [
        ServingFigure(PLAN[4], query, "ms"),
        ServingFigure(PLAN[5], whole, "ms"),
        ServingFigure(PLAN[6], whole - query, "ms", 5.0),
        # Where other programs run, both medians are mostly waiting; the fastest waited least.
        ServingFigure(PLAN[7], min(served) - min(bare), "ms"),
        ServingFigure(PLAN[8], (served_cpu - bare_cpu) / len(bare) * 1000, "ms"),
    ]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _export(server: Server, rows: int) -> list[ServingFigure]:
    process = psutil.Process(server.process_id)
    before = process.memory_info().rss
    peak, ended = before, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    cpu = _cpu_seconds(process)
    try:
        seconds = statistics.median(_stream(server, rows) for _ in range(_EXPORTS))
    finally:
        ended.set()
        watcher.join()
    return [
        ServingFigure(PLAN[9], seconds, "s", 1.5),
        ServingFigure(PLAN[10], (_cpu_seconds(process) - cpu) / _EXPORTS, "s"),
        ServingFigure(PLAN[11], (peak - before) / _MB, "MB", 150.0),
    ]


def _stream(server: Server, rows: int) -> float:
    started, size = time.perf_counter(), 0
    connection = http.client.HTTPConnection(HOST, server.port)
    connection.request("GET", _EXPORT, headers=server.headers)
    answer = connection.getresponse()
    while part := answer.read(_CHUNK):
        size += len(part)
    connection.close()
    if answer.status != _OK or size < rows * 10:
        raise DataError(f"{_EXPORT} is answered with {answer.status} and {size:,} bytes")
    return time.perf_counter() - started


def _new_snapshot(server: Server, folder: Path, base: Settings, rows: int) -> ServingFigure:
    """The time from the publication of a snapshot to the first answer from it."""
    before = _answer(server, _SERIES)[1]["x-americano-snapshot"]
    publish(folder, base, rows + 1)
    started = time.perf_counter()
    while _answer(server, _SERIES)[1]["x-americano-snapshot"] == before:
        if time.perf_counter() - started > _NEW_SNAPSHOT_SECONDS:
            raise DataError("the API does not answer with the new file")
        time.sleep(0.01)
    return ServingFigure(PLAN[12], time.perf_counter() - started, "s", 1.0)
