"""Measure how wide the rows of a Postgres table are, and read the widest in ranges that fit into memory.

DuckDB reads and writes 2,048 rows at once, whatever their width, and holds their texts outside of its memory limit.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import memory_limit, reduced_memory_limit
from americano_pipelines.errors import ResourceError
from americano_pipelines.sources.change_detection import State, bucket_filter
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_scan import rows_of, selected_columns
from americano_pipelines.sources.postgres_snapshot import Snapshot
from americano_pipelines.sources.snapshot_connections import ATTACHED

# Bytes from which a row is wide. An event of the app has about 470.
WIDE_BYTES = 600
# Bytes from which a row is very wide: 2,048 such rows, which are read at once, take 16 MB.
VERY_WIDE_BYTES = 8192
VECTOR_ROWS = 2048
# The share of the memory limit for the very wide rows that are read at once: 300 texts of a megabyte, each another,
# failed in ranges of a 16th ("245.8 MiB/256.0 MiB used") and passed in ranges of a 64th.
_RANGE_SHARE = 64
# Memory for a range over its bytes: one JSON of 51 MB took more than 592 MiB to read, check and write.
_MEMORY_PER_BYTE = 16
# Memory of a value in a list beside its text: of 30,000 texts of two letters each, nine tenths are this.
_BYTES_IN_LIST = 16
_MB = 1_000_000
# Rows of a sample: fewer than a page has of the app's rows; with rows of a megabyte they take Postgres half a second.
_SAMPLE_ROWS = 256
_SMALL_BYTES = 1 << 20
# Postgres compressed a megabyte of one repeated phrase to a hundredth.
_MAX_COMPRESSION_FACTOR = 100


@dataclass(frozen=True)
class RowWidths:
    """How wide a table's rows are.

    Attributes:
        average: bytes of a row, as it is stored or as it is read, whichever is more.
        may_be_very_wide: single rows must be measured: the average is very wide, or a few rows may be.
    """

    average: int
    may_be_very_wide: bool


@dataclass(frozen=True)
class Reading:
    """How the rows of some buckets are to be read.

    Attributes:
        ranges: SQL of relations that together have the rows, each with the values it binds; one, or several where the
            rows are too wide to be read at once.
        average: bytes of a row.
        most: bytes of the widest range where there are several, else 0.
    """

    ranges: list[tuple[str, list[str]]]
    average: int
    most: int = 0

    @property
    def in_ranges(self) -> bool:
        """Whether each range is read and written on its own."""
        return len(self.ranges) > 1

    @property
    def is_wide(self) -> bool:
        """Whether to lower the memory limit while the rows are moved."""
        return self.in_ranges or self.average > WIDE_BYTES


def plan_reading(
    snapshot: Snapshot, table: PostgresTable, state: Mapping[str, State], buckets: Collection[str]
) -> Reading:
    """Plan how to read the rows of some buckets: at once, or in ranges.

    Args:
        snapshot: the snapshot to read in.
        table: the table.
        state: all its buckets.
        buckets: the buckets to read.
    """
    budget = range_bytes(snapshot)
    widths = row_widths(snapshot, table, sum(part.rows for part in state.values()), budget)
    if widths.may_be_very_wide:
        ranges, most = row_ranges(snapshot, table, state, buckets, budget)
        return Reading(ranges, widths.average, most)
    return Reading([rows_of(snapshot, table, state, buckets)], widths.average)


def range_bytes(snapshot: Snapshot) -> int:
    """Bytes of rows that may be read at once."""
    return memory_limit(snapshot.connection) // _RANGE_SHARE


def row_widths(snapshot: Snapshot, table: PostgresTable, rows: int, budget: int) -> RowWidths:
    """Estimate how wide a table's rows are from its size and from a sample of its rows.

    Args:
        snapshot: the snapshot to read in.
        table: the table.
        rows: how many rows it has.
        budget: bytes of rows that may be read at once.
    """
    if rows == 0:
        return RowWidths(0, may_be_very_wide=False)
    # From a table, rows of random pages; from a view, the first rows. A fixed seed makes a sync repeatable.
    share = min(100.0, 100.0 * _SAMPLE_ROWS / rows)
    statement = sql.render(
        sql.load("sources", "row_sample"),
        bytes=_bytes_as_read(table),
        relation=sql.quote(table.schema, table.relation),
        name=sql.escape(sql.quote(table.schema, table.relation)),
        sample=f"TABLESAMPLE SYSTEM ({share}) REPEATABLE (1)" if table.has_row_versions else "",
        rows=str(_SAMPLE_ROWS),
    )
    stored, long_values, read = map(int, snapshot.query(statement, table.found_as)[0])
    # The pages of a small table are mostly empty: its size does not show the width of its rows.
    average = max(read, stored // rows if stored > _SMALL_BYTES else 0)
    very_wide = average > VERY_WIDE_BYTES or long_values * _MAX_COMPRESSION_FACTOR > budget
    return RowWidths(average, may_be_very_wide=very_wide and table.has_row_versions)


@contextmanager
def memory_bounded(snapshot: Snapshot, table: PostgresTable, reading: Reading) -> Iterator[None]:
    """Lower the memory limit while wide rows are moved, but not below what the widest take.

    Raises:
        ResourceError: the widest rows do not fit; the message names the limit that they need.
    """
    if not reading.is_wide:
        yield
        return
    needed = _MEMORY_PER_BYTE * reading.most
    try:
        with reduced_memory_limit(snapshot.connection, needed):
            yield
    except duckdb.OutOfMemoryException as error:
        if needed <= memory_limit(snapshot.connection):
            raise
        raise ResourceError(
            f"{table.found_as}: its widest rows take {reading.most // _MB} MB, and to read and write them DuckDB "
            f"needs up to {_MEMORY_PER_BYTE} times as much. Nothing was published; set AMERICANO_MEMORY_LIMIT to "
            f"{needed // _MB + 1}MB or more. DuckDB said: {str(error).splitlines()[0]}"
        ) from None


def row_ranges(
    snapshot: Snapshot, table: PostgresTable, state: Mapping[str, State], buckets: Collection[str], budget: int
) -> tuple[list[tuple[str, list[str]]], int]:
    """The rows of `rows_of` in ranges of about `budget` bytes each, where they are too wide to be read at once.

    Args:
        snapshot: the snapshot to read in.
        table: the table; not a view, whose rows have no places (ctid).
        state: all its buckets.
        buckets: the buckets to read.
        budget: bytes of a range, and of as many rows as DuckDB reads at once.

    Returns:
        Relations that together have the rows, each with the values it binds, and the bytes of the widest; 0 for a
        single one.
    """
    where = "true" if len(buckets) == len(state) else bucket_filter(table, buckets)
    relation = sql.quote(table.schema, table.relation)
    names = [sql.quote(column.name) for column in table.columns]
    statement = sql.render(
        sql.load("sources", "row_ranges"),
        bytes=_bytes_as_read(table),
        is_long=" OR ".join(
            f"pg_column_compression({name}) IS NOT NULL OR pg_column_size({name}) > {WIDE_BYTES}" for name in names
        ),
        # By column, not by row: to build a row, Postgres fetches values that it stores elsewhere.
        stored_bytes=" + ".join(f"coalesce(pg_column_size({name}), 0)" for name in names),
        relation=relation,
        where=where,
        budget=str(budget),
        vector=str(VECTOR_ROWS),
    )
    ranges = snapshot.query(statement, table.found_as)
    if not ranges or int(ranges[0][2]) <= budget:
        return [rows_of(snapshot, table, state, buckets)], 0
    lasts = [str(last) for last, _, _ in ranges]
    conditions = [f"ctid <= '{lasts[0]}'"]
    conditions += [f"ctid > '{before}' AND ctid <= '{last}'" for before, last in pairwise(lasts)]
    columns = selected_columns(table)
    relations = [
        (
            f"(SELECT {table.projection} FROM postgres_query('{ATTACHED}', $1))",  # noqa: S608 - quoted
            [f"SELECT {columns} FROM {relation} WHERE {condition} AND ({where})"],  # noqa: S608 - quoted
        )
        for condition in conditions
    ]
    return relations, max(int(size) for _, size, _ in ranges)


def _bytes_as_read(table: PostgresTable) -> str:
    """SQL, for Postgres, of the bytes that a row takes as DuckDB reads it: those of its text, and more for lists."""
    names = [(column, sql.quote(column.name)) for column in table.columns]
    lists = [f" + {_BYTES_IN_LIST} * coalesce(cardinality({name}), 0)" for column, name in names if column.is_list]
    return f"octet_length(ROW({', '.join(name for _, name in names)})::text)::bigint{''.join(lists)}"
