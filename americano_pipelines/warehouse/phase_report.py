"""Run the four report patterns on the published file and time them; or the first three for one protocol."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.errors import AmericanoError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.sources.postgres_catalog import find_tables
from americano_pipelines.sources.postgres_snapshot import open_snapshot
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines.warehouse.snapshots import open_published, record_of

REPEATS = 5


@dataclass(frozen=True)
class Timed:
    """An answer and how long it took.

    Attributes:
        columns: names.
        rows: all rows.
        first_ms: the first run, with cold caches, in milliseconds.
        median_ms: median of the runs after it, in milliseconds.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]
    first_ms: float
    median_ms: float


@dataclass(frozen=True)
class Pattern:
    """One pattern of the report.

    Attributes:
        name: its short name.
        title: for people.
        duckdb: the published file's answer; None when skipped.
        postgres: Postgres's answer to the same query, where it was compared.
        skipped: why there is no answer.
        same: whether both gave the same rows, where compared.
    """

    name: str
    title: str
    duckdb: Timed | None = None
    postgres: Timed | None = None
    skipped: str | None = None
    same: bool | None = None


_PATTERNS = (
    ("events_by_phase", "Events by phase"),
    ("daily_events", "Events per day"),
    ("weekly_events", "Events per week"),
    ("events_by_protocol", "Events per protocol"),
)
# Of the events of one protocol: also what they are counted by.
_PROTOCOL_PATTERNS = (
    ("events_by_phase", "Events by phase", "phase"),
    ("events_by_day", "Events per day", "CAST(date_trunc('day', event_time) AS DATE)"),
    ("events_by_week", "Events per week", "CAST(date_trunc('week', event_time) AS DATE)"),
)


def report(settings: Settings, *, compare: bool) -> list[Pattern]:
    """Run all patterns on the published file.

    Args:
        settings: where it is, and the Postgres to compare with.
        compare: run the daily aggregation in Postgres too.

    Raises:
        WarehouseUnavailableError: nothing is published, or it is held read-write.
    """
    with open_published(settings) as connection:
        document = record_of(connection)
        patterns = [_pattern(connection, document, name, title) for name, title in _PATTERNS]
        patterns.append(_comparison(settings, connection, compare=compare))
    return patterns


def report_protocol(settings: Settings, protocol_id: str) -> list[Pattern]:
    """Count the events of one protocol by phase, day and week.

    Args:
        settings: where the published file is.
        protocol_id: the protocol.

    Raises:
        WarehouseUnavailableError: nothing is published, or it is held read-write.
    """
    with open_published(settings) as connection:
        document = record_of(connection)
        left_out = document.skipped.get("research.protocol_events") if document else "the published file has no record"
        if left_out is not None:
            return [Pattern(name, title, skipped=left_out) for name, title, _ in _PROTOCOL_PATTERNS]
        template = sql.load("warehouse", "count_protocol_events")
        statements = [
            sql.render(template, key=key, name=sql.quote(name.removeprefix("events_by_")))
            for name, _, key in _PROTOCOL_PATTERNS
        ]
        return [
            Pattern(name, title, _timed(partial(_fetch, connection, statement, [protocol_id])))
            for (name, title, _), statement in zip(_PROTOCOL_PATTERNS, statements, strict=True)
        ]


def _pattern(connection: duckdb.DuckDBPyConnection, document: SnapshotRecord | None, name: str, title: str) -> Pattern:
    """Run a rollup's query on the events: reading the stored rollup would time nothing."""
    model = document.models.get(name) if document else None
    if document is None or model is None:
        reason = document.skipped.get(f"research.{name}") if document else "the published file has no record"
        return Pattern(name, title, skipped=reason or f"research.{name} is missing")
    return Pattern(name, title, _timed(lambda: _fetch(connection, model.sql)))


def _comparison(settings: Settings, connection: duckdb.DuckDBPyConnection, *, compare: bool) -> Pattern:
    name, title = "duckdb_against_postgres", "DuckDB against Postgres: events per day"
    if not compare:
        return Pattern(name, title, skipped="--compare-postgres or COMPARE_WITH_POSTGRES=true runs it")
    if settings.postgres is None:
        return Pattern(name, title, skipped="no Postgres is configured; set DATABASE_URL or PG_HOST")
    try:
        with connect(settings) as session, open_snapshot(session, settings.postgres) as snapshot:
            table = find_tables(snapshot, settings, hold=False)[0][EVENTS.name]
            time_column, learner = table.column("time"), table.column("learner")
            if time_column is None or learner is None:
                return Pattern(name, title, skipped=f"{table.found_as} has no learner column")
            template = sql.load("warehouse", "phase_report")
            columns = {"time": sql.quote(time_column.name), "learner": sql.quote(learner.name)}
            source_query = sql.render(template, relation=sql.quote(table.schema, table.relation), **columns)
            published_query = sql.render(template, relation=sql.quote("analytics", table.name), **columns)
            source_answer = _timed(
                lambda: (["day", "events", "learners"], snapshot.query(source_query, table.found_as))
            )
        published_answer = _timed(lambda: _fetch(connection, published_query))
    except (AmericanoError, duckdb.Error) as error:
        return Pattern(name, title, skipped=f"the comparison failed: {error}")
    return Pattern(name, title, published_answer, source_answer, same=published_answer.rows == source_answer.rows)


def _fetch(
    connection: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[str] = ()
) -> tuple[list[str], list[tuple[Any, ...]]]:
    cursor = connection.execute(statement, parameters)
    return [str(column[0]) for column in cursor.description or ()], cursor.fetchall()


def _timed(run: Callable[[], tuple[list[str], list[tuple[Any, ...]]]]) -> Timed:
    spent = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        columns, rows = run()
        spent.append((time.perf_counter() - started) * 1000)
    return Timed(columns, rows, round(spent[0], 2), round(statistics.median(spent[1:]), 2))
