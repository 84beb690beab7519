"""Helpers that the tests of sources share."""

from collections.abc import Iterator
from contextlib import contextmanager

from americano_pipelines.common import duckdb_session
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines.sources.change_detection import State, source_state
from americano_pipelines.sources.checksums import BucketChecksum, duckdb_checksums, postgres_checksums
from americano_pipelines.sources.postgres_catalog import PostgresTable, find_tables
from americano_pipelines.sources.postgres_snapshot import Snapshot, open_snapshot


def target_of(settings: Settings) -> PostgresTarget:
    target = settings.postgres
    assert target is not None
    return target


@contextmanager
def opened(settings: Settings) -> Iterator[Snapshot]:
    """One snapshot in a session of its own."""
    with duckdb_session.connect(settings) as connection, open_snapshot(connection, target_of(settings)) as snapshot:
        yield snapshot


def scan(snapshot: Snapshot, table: PostgresTable) -> str:
    """SQL of the table as DuckDB reads it, in its exact types."""
    return f"(SELECT {table.projection} FROM {snapshot.relation(table.schema, table.relation)})"


def both_figures(
    snapshot: Snapshot, table: PostgresTable
) -> tuple[dict[str, BucketChecksum], dict[str, BucketChecksum]]:
    """What Postgres counts and what DuckDB counts."""
    return postgres_checksums(snapshot, table), duckdb_checksums(snapshot.connection, table, scan(snapshot, table))


def events(snapshot: Snapshot, settings: Settings) -> PostgresTable:
    return find_tables(snapshot, settings)[0]["behavioral_events"]


def events_state(settings: Settings) -> dict[str, State]:
    """The events' state at this moment."""
    with opened(settings) as snapshot:
        return source_state(snapshot, events(snapshot, settings))
