"""Measure a sync beside the bare DuckDB statements that do the same work without its promises.

Budgets are ratios of two times taken in one run, so they hold on any machine.
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from americano_pipelines.bench.dataset import Dataset
from americano_pipelines.bench.sync_peers import peers, time_peer
from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.common.stage_timer import StageTimer, peak_memory_mb
from americano_pipelines.lake.export import export
from americano_pipelines.settings import Settings
from americano_pipelines.sources.postgres_snapshot import open_snapshot
from americano_pipelines.warehouse.refresh import refresh

P = ParamSpec("P")
R = TypeVar("R")
PANDAS_ROWS = 200_000
# With fewer rows the fixed seconds of a sync decide, which the budgets are not about.
MIN_ROWS_OF_BUDGETS = 1_000_000
PLAN = (
    "raw COPY of the table to one Parquet file",
    "our export",
    "bare sorted table and rollups from that file",
    "our full sync, to the published file",
    "nothing changed",
    "one month changed",
    "one row late",
    f"pandas read_sql and to_parquet, {PANDAS_ROWS:,} rows",
)


@dataclass
class Measured:
    """One line of the table.

    Attributes:
        what: what was measured.
        seconds: how long it took.
        against: what it is compared with.
        ratio: seconds over the other's seconds.
        budget: most the ratio may be, None where there is none.
        note: memory, sizes, rows a second.
    """

    what: str
    seconds: float
    against: str = ""
    ratio: float | None = None
    budget: float | None = None
    note: str = ""
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def within(self) -> bool | None:
        """Whether the budget is met, None where there is none."""
        return None if self.budget is None or self.ratio is None else self.ratio <= self.budget


def measure(
    data: Dataset, base: Settings, announce: Callable[[str], None], *, with_peers: bool = False
) -> list[Measured]:
    """Take all measurements, each of ours in a process of its own so that its peak memory is its own.

    Args:
        data: the source.
        base: memory limit and threads.
        announce: called with the name of the next measurement.
        with_peers: time the installed ones of `sync_peers.py` too; their ratios have no budget.
    """
    settings = data.settings(base)
    announce(PLAN[0])
    copy_s, copy_bytes = _raw_copy(settings, data.folder)
    announce(PLAN[1])
    exporting = _alone(_export, settings)
    exported = Measured(
        PLAN[1], exporting["seconds"], PLAN[0], exporting["seconds"] / copy_s, 1.15, stages=exporting["stages"]
    )
    exported.note = _note(exporting)
    announce(PLAN[2])
    load_s, load_bytes = _bare_load(settings, data.folder)
    announce(PLAN[3])
    full = _alone(_sync, settings, full=True)
    bare = copy_s + load_s
    lines = [
        Measured(PLAN[0], copy_s, note=f"{copy_bytes / 1e6:,.0f} MB"),
        exported,
        Measured(PLAN[2], load_s, note=f"{load_bytes / 1e6:,.0f} MB"),
        _line(PLAN[3], full, "COPY and bare load", bare, 1.25),
    ]
    announce(PLAN[4])
    lines.append(_line(PLAN[4], _alone(_sync, settings), "full sync", full["seconds"], 0.05))
    update = sql.load("bench", "change_month")
    late = sql.load("bench", "late_row")
    for what, statement in ((PLAN[5], update), (PLAN[6], late)):
        announce(what)
        data.execute(statement)
        lines.append(_line(what, _alone(_sync, settings), "full sync", full["seconds"], 0.20))
    announce(PLAN[7])
    spent = _pandas(data)
    lines.append(Measured(PLAN[7], spent, note=f"{min(PANDAS_ROWS, data.rows) / spent:,.0f} rows a second"))
    for name in peers() if with_peers else ():
        announce(name)
        copied, complete = _alone(time_peer, data, name)
        lines.append(Measured(f"just the copy: {name}", copied, PLAN[1], copied / exporting["seconds"]))
        lines.append(Measured(f"same result: {name}", complete, PLAN[3], complete / full["seconds"]))
    return lines if data.rows >= MIN_ROWS_OF_BUDGETS else [replace(line, budget=None) for line in lines]


def _line(what: str, measured: dict[str, Any], against: str, seconds: float, budget: float) -> Measured:
    return Measured(
        what, measured["seconds"], against, measured["seconds"] / seconds, budget, _note(measured), measured["stages"]
    )


def _note(measured: dict[str, Any]) -> str:
    """On a busy machine the CPU time says more than the seconds; Postgres's is not in it."""
    return f"{measured['bytes'] / 1e6:,.0f} MB, peak {measured['peak_mb']} MB, CPU {measured['cpu_s']:.1f} s"


def _alone(work: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments, **options).result()


def _export(settings: Settings) -> dict[str, Any]:
    stages, started, cpu_started = StageTimer(), time.perf_counter(), time.process_time()
    done = export(settings, stages, full=True)
    size = sum(table.bytes for table in done.manifest.tables.values())
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu_started,
        "stages": stages.seconds,
        "bytes": size,
        "peak_mb": peak_memory_mb(),
    }


def _sync(settings: Settings, *, full: bool = False) -> dict[str, Any]:
    stages, started, cpu_started = StageTimer(), time.perf_counter(), time.process_time()
    export(settings, stages, full=full)
    document = refresh(settings, stages, full=full).document
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu_started,
        "stages": stages.seconds,
        "bytes": document.bytes,
        "peak_mb": peak_memory_mb(),
    }


def _raw_copy(settings: Settings, folder: Path) -> tuple[float, int]:
    target = folder / "raw.parquet"
    if settings.postgres is None:
        raise ValueError("the benchmark's settings name no Postgres")
    with connect(settings) as connection, open_snapshot(connection, settings.postgres) as snapshot:
        started = time.perf_counter()
        connection.execute(
            f"COPY (FROM {snapshot.relation('public', 'behavioral_events')}) TO '{sql.escape(str(target))}' "
            "(FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)"
        )
        return time.perf_counter() - started, target.stat().st_size


def _bare_load(settings: Settings, folder: Path) -> tuple[float, int]:
    target = folder / "bare.duckdb"
    with connect(settings, target) as connection:
        started = time.perf_counter()
        connection.execute(sql.load("bench", "bare_load"), [str(folder / "raw.parquet")])
        for statement in sql.load("bench", "bare_rest").split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("CHECKPOINT")
        spent = time.perf_counter() - started
    return spent, target.stat().st_size


def _pandas(data: Dataset) -> float:
    import warnings
    from contextlib import closing

    import pandas as pd

    with closing(data.connect()) as connection, warnings.catch_warnings():
        # pandas would rather have SQLAlchemy; the way that this replaces did not.
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        frame = pd.read_sql(f"SELECT * FROM behavioral_events LIMIT {PANDAS_ROWS}", connection)  # type: ignore[call-overload]  # noqa: S608
        frame["eventData"] = frame["eventData"].astype(str)
        frame.to_parquet(data.folder / "pandas.parquet")
        return time.perf_counter() - started
