"""Detect source tables that change in their schema while a block copies or compares them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from americano_pipelines.errors import DataError, SourceError, TransientSourceError, UnsteadySourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.postgres_catalog import UNSTEADY, PostgresTable, find_tables, identities, parts_of
from americano_pipelines.sources.postgres_errors import UnreadableValueError
from americano_pipelines.sources.postgres_snapshot import Snapshot
from americano_pipelines.sources.unreadable_values import locate_value


@contextmanager
def steady_tables(snapshot: Snapshot, settings: Settings) -> Iterator[tuple[dict[str, PostgresTable], dict[str, str]]]:
    """The source tables for a block that copies or compares them, which must not change meanwhile.

    A snapshot pins rows, but a statement resolves column names, types and enum labels by the present catalog. That can
    differ after a migration that was under way when the snapshot was taken, and at any time for what no lock holds
    (labels, composite types, partitions, functions of a view). So at the end, also of a block that failed, the catalog
    is read again in a snapshot of its own, on the same connection.

    Raises:
        SourceError: as `find_tables`; or a value cannot be read, with its column and an example row.
        UnsteadySourceError: a table's schema changed meanwhile, so the rows may be of a state that never existed.
    """
    tables, skipped = find_tables(snapshot, settings)
    try:
        yield tables, skipped
    except TransientSourceError:
        raise
    except (SourceError, DataError) as error:
        snapshot.renew(keep=False)
        _check_steady(snapshot, settings, tables, error)
        if isinstance(error, UnreadableValueError):
            table = next(table for table in tables.values() if table.found_as == error.table)
            raise locate_value(snapshot, table, error) from None
        raise
    snapshot.renew(keep=True)
    _check_steady(snapshot, settings, tables, None)


def _check_steady(
    snapshot: Snapshot, settings: Settings, tables: Mapping[str, PostgresTable], failure: Exception | None
) -> None:
    """Compare the present catalog with the one at the start.

    Raises:
        UnsteadySourceError: naming the tables that differ.
    """
    try:
        current_tables, _ = find_tables(snapshot, settings, hold=False)
    except TransientSourceError:
        raise
    except SourceError as error:
        raise UnsteadySourceError(f"{UNSTEADY}. Now: {error}") from failure
    current = {
        name: replace(table, parts=identities(parts_of(snapshot, table))) for name, table in current_tables.items()
    }
    names = sorted(name for name in tables.keys() | current.keys() if tables.get(name) != current.get(name))
    if names:
        raise UnsteadySourceError(f"{', '.join(names)}: {UNSTEADY}") from failure
