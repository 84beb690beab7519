"""Compare the answers and the times of Postgres, plain Parquet, an unsorted DuckDB table and the published file.

Targets are ratios of two times of one run.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import duckdb
import psycopg2.extensions
from psycopg2.extras import register_default_jsonb

from americano_pipelines.bench.dataset import Dataset
from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect, connect_to_read
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import DataError
from americano_pipelines.lake.export import export
from americano_pipelines.settings import Settings
from americano_pipelines.sources.postgres_snapshot import open_snapshot
from americano_pipelines.warehouse.refresh import refresh

# With fewer rows the fixed milliseconds of a connection decide, which the targets are not about.
MIN_ROWS_OF_TARGETS = 5_000_000
WARM_RUNS = 7
POSTGRES, PUBLISHED = "Postgres", "published file"
_TABLES = ("events", "protocols", "phases")
_SOURCE_TABLES = ("behavioral_events", "experiment_protocols", "phase_assignments")


@dataclass(frozen=True)
class Query:
    """A question.

    Attributes:
        title: the question in words.
        file: the `.sql` file that asks the tables.
        learner: whose rows, by how many events they have; empty for all.
        rollup: the statement that asks a rollup of the published file, empty where there is none.
        target: how many times faster than Postgres the published file must be.
    """

    title: str
    file: str
    learner: str = ""
    rollup: str = ""
    target: float = 1.0


def _of_learners(title: str, file: str) -> list[Query]:
    return [Query(f"{title}, {learner} learner", file, learner) for learner in ("rare", "median", "heaviest")]


QUERIES = (
    Query("events by day, all time", "daily_all", rollup="FROM research.daily_events ORDER BY day", target=300),
    Query("events by day, 60 days", "daily_60_days", target=15),
    Query("events by week, all time", "weekly", rollup="FROM research.weekly_events ORDER BY week"),
    Query("events by phase", "by_phase", rollup="FROM research.events_by_phase ORDER BY phase"),
    Query("events by protocol", "by_protocol", rollup="FROM research.events_by_protocol ORDER BY protocol_id"),
    *_of_learners("all columns", "learner_rows"),
    *_of_learners("daily mean", "learner_daily_mean"),
    Query("a week of the median learner", "learner_week", "median"),
    Query("a week of all learners by type", "week_aggregate", target=5),
    Query("last event of each learner", "last_event"),
)


@dataclass(frozen=True)
class QueryTimes:
    """The times of one question.

    Attributes:
        title: the question.
        rows: rows of the answer.
        warm_ms: by contender, the median of the repeated runs on one connection, milliseconds.
        cold_ms: by contender, the first run on a new connection; the files are in the system's cache.
        target: the least ratio of Postgres's time to ours, None where there are too few rows for it.
    """

    title: str
    rows: int
    warm_ms: Mapping[str, float]
    cold_ms: Mapping[str, float]
    target: float | None

    @property
    def ratio(self) -> float:
        """How many times faster than Postgres the published file is."""
        return self.warm_ms[POSTGRES] / self.warm_ms[PUBLISHED]

    @property
    def within(self) -> bool | None:
        """Whether the target is met, None where there is none."""
        return None if self.target is None else self.ratio >= self.target


class _Session(Protocol):
    """An open connection to a contender."""

    def rows(self, statement: str, parameters: Sequence[str]) -> list[tuple[Any, ...]]:
        """The answer."""

    def consume(self, statement: str, parameters: Sequence[str]) -> None:
        """Receive every row of the answer without making Python objects of them, which took longer than the query."""


@dataclass(frozen=True)
class _Contender:
    """A system that is timed: how it is opened, what its tables are called, how it binds a value."""

    session: Callable[[], AbstractContextManager[_Session]]
    relations: Mapping[str, str]
    placeholder: str = "$1"

    def statement(self, query: Query) -> str:
        return sql.render(sql.load("bench", f"query_{query.file}"), **self.relations, learner=self.placeholder)


class _Discard:
    def write(self, data: bytes) -> None:
        """Receive and forget."""


@dataclass(frozen=True)
class _PostgresSession:
    connection: psycopg2.extensions.connection

    def rows(self, statement: str, parameters: Sequence[str]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, list(parameters))
            return list(cursor.fetchall())

    def consume(self, statement: str, parameters: Sequence[str]) -> None:
        with self.connection.cursor() as cursor:
            bound = cursor.mogrify(statement, list(parameters)).decode()
            cursor.copy_expert(f"COPY ({bound}) TO STDOUT (FORMAT binary)", _Discard())


@dataclass(frozen=True)
class _DuckDBSession:
    connection: duckdb.DuckDBPyConnection

    def rows(self, statement: str, parameters: Sequence[str]) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, list(parameters)).fetchall()

    def consume(self, statement: str, parameters: Sequence[str]) -> None:
        self.connection.execute(statement, list(parameters)).to_arrow_table()


@contextmanager
def _postgres_session(data: Dataset) -> Iterator[_PostgresSession]:
    with closing(data.connect()) as connection:
        # As text, as DuckDB has it.
        register_default_jsonb(connection, loads=str)
        yield _PostgresSession(connection)


@contextmanager
def _duckdb_session(settings: Settings, database: Path | None = None) -> Iterator[_DuckDBSession]:
    with connect(settings) if database is None else connect_to_read(settings, database) as connection:
        yield _DuckDBSession(connection)


def measure_queries(data: Dataset, base: Settings, stages: StageTimer) -> list[QueryTimes]:
    """Time every question in every contender.

    Args:
        data: the source; protocols are added to it.
        base: memory limit and threads.
        stages: announces what is being done.

    Raises:
        DataError: two contenders give different answers.
    """
    contenders, learners = _prepare(data, data.settings(base), stages)
    times = []
    for query in QUERIES:
        with stages.stage(query.title):
            target = query.target if data.rows >= MIN_ROWS_OF_TARGETS else None
            times.append(_time(query, contenders, [learners[query.learner]] if query.learner else [], target))
    return times


def _prepare(data: Dataset, settings: Settings, stages: StageTimer) -> tuple[dict[str, _Contender], dict[str, str]]:
    """Publish the source and copy it into the other contenders; choose the learners by their events."""
    data.execute(sql.load("bench", "protocols"))
    export(settings, stages)
    published = refresh(settings, stages).path
    if settings.postgres is None or published is None:
        raise DataError("the benchmark's data could not be published")
    parquet = {name: data.folder / f"{name}.parquet" for name in _TABLES}
    unsorted = data.folder / "unsorted.duckdb"
    with (
        stages.stage("copy to plain Parquet"),
        connect(settings) as connection,
        open_snapshot(connection, settings.postgres) as snapshot,
    ):
        for file, table in zip(parquet.values(), _SOURCE_TABLES, strict=True):
            copied, target_path = snapshot.relation("public", table), sql.escape(str(file))
            connection.execute(f"COPY (FROM {copied}) TO '{target_path}' (FORMAT parquet, COMPRESSION zstd)")
    with stages.stage("load an unsorted table"), connect(settings, unsorted) as connection:
        for name, file in parquet.items():
            connection.execute(f"CREATE TABLE {name} AS FROM read_parquet($1)", [str(file)])
    postgres = {name: sql.quote("public", table) for name, table in zip(_TABLES, _SOURCE_TABLES, strict=True)}
    mirrors = {name: sql.quote("analytics", table) for name, table in zip(_TABLES, _SOURCE_TABLES, strict=True)}
    files = {name: f"read_parquet('{sql.escape(str(file))}')" for name, file in parquet.items()}
    contenders = {
        POSTGRES: _Contender(partial(_postgres_session, data), postgres, "%s"),
        "plain Parquet": _Contender(partial(_duckdb_session, settings), files),
        "unsorted table": _Contender(partial(_duckdb_session, settings, unsorted), {n: n for n in _TABLES}),
        PUBLISHED: _Contender(partial(_duckdb_session, settings, published), mirrors),
    }
    with contenders[PUBLISHED].session() as session:
        counted = session.rows(sql.load("bench", "learners_by_events"), [])
    chosen = {"rare": counted[0], "median": counted[len(counted) // 2], "heaviest": counted[-1]}
    return contenders, {name: str(learner) for name, (learner, _) in chosen.items()}


def _time(
    query: Query, contenders: Mapping[str, _Contender], parameters: Sequence[str], target: float | None
) -> QueryTimes:
    statements = {name: contender.statement(query) for name, contender in contenders.items()}
    if query.rollup:
        statements[PUBLISHED] = query.rollup
    answers, cold = {}, {}
    runs: dict[str, list[float]] = {name: [] for name in contenders}
    with ExitStack() as stack:
        sessions = {name: stack.enter_context(contender.session()) for name, contender in contenders.items()}
        for name, session in sessions.items():
            cold[name] = _milliseconds(session, statements[name], parameters)
            answers[name] = sorted(map(_comparable, session.rows(statements[name], parameters)), key=repr)
            if answers[name] != answers[POSTGRES]:
                raise DataError(f"{query.title}: {name} gives another answer than {POSTGRES}")
        # One after the other, so that a disturbance meets all of them.
        for _ in range(WARM_RUNS):
            for name, session in sessions.items():
                runs[name].append(_milliseconds(session, statements[name], parameters))
    warm = {name: statistics.median(taken) for name, taken in runs.items()}
    return QueryTimes(query.title, len(answers[POSTGRES]), warm, cold, target)


def _milliseconds(session: _Session, statement: str, parameters: Sequence[str]) -> float:
    started = time.perf_counter()
    session.consume(statement, parameters)
    return (time.perf_counter() - started) * 1000


def _comparable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of either engine, its numbers as rounded floats."""
    return tuple(round(float(value), 6) if isinstance(value, Decimal | float) else value for value in row)
