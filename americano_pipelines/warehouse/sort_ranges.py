"""Cut a relation into ranges of its sort key that follow each other, so that each is sorted within the memory limit."""

# DuckDB spills while it sorts, but not the texts of the rows that it merges and appends: 400,000 rows of 750 bytes
# failed at 512 MB with gigabytes free on the disk. Sorted range after range they need a fraction of the limit.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import memory_limit
from americano_pipelines.errors import ResourceError
from americano_pipelines.sources.change_detection import time_expression
from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.sources.row_widths import VECTOR_ROWS

Chunk = tuple[str, list[Any]]
"""SQL of a relation and the values it binds."""
# The share of the memory limit for the rows of one sort. With ranges of a quarter, sorting 300 MB of rows took 512 MB,
# so ranges are smaller; but what takes no more is not cut, for that costs a scan.
_SHARE, _RANGE_SHARE = 4, 8
_BYTES_PER_VALUE = 16
_TEXT = ("VARCHAR", "JSON")
# Bytes of a value in a list, which has room for twice as many: 300 lists of 30,000 texts took 256 MB beside the texts.
# To commit 9 M texts of 32 letters DuckDB held 850 MB outside of its limit, in however many ranges they came.
_BYTES_IN_LIST = MappingProxyType(
    {
        **dict.fromkeys(("BOOLEAN", "TINYINT", "UTINYINT"), 2),
        **dict.fromkeys(("SMALLINT", "USMALLINT"), 4),
        **dict.fromkeys(("INTEGER", "UINTEGER", "FLOAT", "DATE"), 8),
        **dict.fromkeys(("BIGINT", "UBIGINT", "DOUBLE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME"), 16),
    }
)
_BYTES_IN_ANY_LIST, _TEXT_IN_LIST = 32, 1.2
PARQUET_FILES = "read_parquet($1, hive_partitioning = false)"
# DuckDB compresses 2,048 rows at once, all in memory: 300 rows of a megabyte failed at 256 MB and passed at 384.
_OVERHEAD = 1.25
_MB = 1_000_000


@dataclass(frozen=True)
class SortedChunks:
    """A chunk to load, in ranges.

    Attributes:
        chunks: the ranges, in the order of the sort key; the chunk itself where it fits into memory as a whole.
        bytes_at_once: memory to load a range, None where only the limit bounds it.
    """

    chunks: list[Chunk]
    bytes_at_once: int | None = None


@dataclass(frozen=True)
class SortKey:
    """A part of the key that a mirror is sorted by.

    Attributes:
        label: the part in words.
        expression: its SQL.
        type: its type in DuckDB.
    """

    label: str
    expression: str
    type: str


def sort_keys(table: SourceTable) -> list[SortKey]:
    """The parts of the key that a mirror is sorted by.

    A table that is kept by month is sorted by month, then by learner, then by time: a filter by time skips whole
    months, and the rows of a learner lie together. 5 M rows of 2,000 learners: all columns of a median learner took
    18 ms of CPU where the order by time alone took 470 ms, and a week's aggregate 4 ms where it took 2 ms.
    """
    contract = table.contract
    roles = [contract.sort_role, "id"]
    keys = []
    if contract.by_month and contract.cluster_role is not None and (time := table.column(contract.sort_role)):
        keys.append(SortKey(f"month of {time.name}", _month(table), "TIMESTAMP"))
        roles.insert(0, contract.cluster_role)
    columns = [column for role in roles if (column := table.column(role))]
    return keys + [SortKey(c.name, sql.quote(c.name), c.type) for c in columns if not c.is_nested]


def _month(table: SourceTable) -> str:
    """SQL of a row's month; what is before the year 1 or after 9999, where date_trunc may fail, is infinitely far."""
    time = time_expression(table)
    return (
        f"CASE WHEN {time} < '0001-01-01' THEN TIMESTAMP '-infinity' "
        f"WHEN {time} >= '10000-01-01' THEN TIMESTAMP 'infinity' ELSE date_trunc('month', {time}) END"
    )


def sort_ranges(
    connection: duckdb.DuckDBPyConnection, table: SourceTable, chunks: Sequence[Chunk]
) -> Iterator[SortedChunks]:
    """Cut chunks whose rows do not fit into memory at once; join files that follow each other and fit together.

    A million rows in 23 months took 4.8 s of CPU time month by month, in a file of 86 MB, and 3.9 s joined, in one of
    66 MB: their row groups are full.

    Args:
        connection: the session that reads them.
        table: its columns, in the types that it is sorted in.
        chunks: relations that follow each other in the order of `sort_keys` and can be read more than once.

    Raises:
        ResourceError: the rows are so wide that 2,048 of them do not fit.
    """
    at_once = memory_limit(connection) // _SHARE
    joined: Chunk | None = None
    joined_bytes = 0
    for chunk in chunks:
        size = _at_most(connection, table, chunk)
        if joined is not None and joined[0] == chunk[0] == PARQUET_FILES and joined_bytes + size <= at_once:
            joined, joined_bytes = (PARQUET_FILES, [[*joined[1][0], *chunk[1][0]]]), joined_bytes + size
            continue
        if joined is not None:
            yield _sorted_chunks(connection, table, joined, joined_bytes)
        joined, joined_bytes = chunk, size
    if joined is not None:
        yield _sorted_chunks(connection, table, joined, joined_bytes)


def _sorted_chunks(
    connection: duckdb.DuckDBPyConnection, table: SourceTable, chunk: Chunk, at_most: int
) -> SortedChunks:
    limit = memory_limit(connection)
    first = table.columns[0]
    # Without a sort key the first column is sorted by.
    keys = sort_keys(table) or [SortKey(first.name, sql.quote(first.name), first.type)] * (not first.is_nested)
    if not keys or at_most <= limit // _SHARE:
        return SortedChunks([chunk])
    relation, parameters = chunk
    typed = f"(SELECT {table.projection} FROM {relation})"  # noqa: S608 - quoted
    ranges = _Ranges(connection, table, limit // _RANGE_SHARE)
    chunks = ranges.cut((typed, parameters), keys)
    needed = int(_OVERHEAD * ranges.bytes_at_once)
    if needed > limit:
        raise ResourceError(
            f"{table.found_as}: {VECTOR_ROWS} of its rows take {ranges.bytes_at_once // _MB} MB, and DuckDB writes so "
            f"many at once. Nothing was published; set AMERICANO_MEMORY_LIMIT to {needed // _MB + 1}MB or more"
        )
    return SortedChunks(chunks, needed)


class _Ranges:
    """Cuts relations of one table and notes the widest rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: SourceTable, budget: int) -> None:
        self.bytes_at_once = 0
        self._connection, self._budget = connection, budget
        self._bytes = " + ".join(_bytes(column) for column in table.columns)

    def cut(self, chunk: Chunk, keys: Sequence[SortKey]) -> list[Chunk]:
        """Ranges of the first key; the rows of a key that are too many are cut by the next."""
        relation, parameters = chunk
        key, *others = keys
        statement = sql.render(
            sql.load("warehouse", "key_ranges"),
            key=key.expression,
            bytes=self._bytes,
            relation=relation,
            budget=str(self._budget),
            vector=str(VECTOR_ROWS),
        )
        chunks: list[Chunk] = []
        before = ""
        for last, is_single, size, at_once in self._connection.execute(statement, parameters).fetchall():
            self.bytes_at_once = max(self.bytes_at_once, int(at_once))
            value = f"CAST('{sql.escape(str(last))}' AS {key.type})"
            upper_bound = f"{key.expression} IS NULL" if last is None else f"{key.expression} <= {value}"
            condition = upper_bound if last is None or not before else f"{key.expression} > {before} AND {upper_bound}"
            part: Chunk = (f"(FROM {relation} WHERE {condition})", parameters)
            chunks += self.cut(part, others) if is_single and size > self._budget and others else [part]
            before = before if last is None else value
        return chunks


def _at_most(connection: duckdb.DuckDBPyConnection, table: SourceTable, chunk: Chunk) -> int:
    """An upper estimate of the memory for a chunk's rows: by the footers of its files, else by reading it."""
    relation, parameters = chunk
    columns = table.columns
    from_footers = 0
    if "read_parquet($1" in relation:
        # Files whose columns differ are read in several groups, each with a list of its own.
        paths = [path for group in parameters if isinstance(group, list) for path in group]
        # A dictionary holds each text once: 300 rows with one text of a megabyte took a megabyte by the footers.
        in_dictionary = set()
        for name, decoded, values, in_lists, has_dictionary in connection.execute(
            sql.load("warehouse", "parquet_bytes"), [paths]
        ).fetchall():
            if has_dictionary and any(c.name == name and (c.type in _TEXT or c.is_nested) for c in columns):
                in_dictionary.add(name)
            else:
                from_footers += decoded + _BYTES_PER_VALUE * values + _BYTES_IN_ANY_LIST * in_lists
        columns = tuple(c for c in columns if c.name in in_dictionary)
        if not columns:
            return from_footers
    size = " + ".join(_bytes(column) for column in columns)
    row = connection.execute(f"SELECT sum({size}) FROM {relation}", parameters).fetchone()  # noqa: S608 - quoted
    return from_footers + (int(row[0] or 0) if row else 0)


def _bytes(column: Column) -> str:
    """SQL of the bytes that a value takes in memory."""
    name = sql.quote(column.name)
    if column.type in _TEXT:
        return f"{_BYTES_PER_VALUE} + coalesce(strlen({name}), 0)"
    if column.type == "BLOB":
        return f"{_BYTES_PER_VALUE} + coalesce(octet_length({name}), 0)"
    if not column.is_nested:
        return str(_BYTES_PER_VALUE)
    if (in_list := _BYTES_IN_LIST.get(column.type.removesuffix("[]"))) is not None:
        return f"{_BYTES_PER_VALUE} + coalesce({in_list} * len({name}), 0)"
    # Each of its values but the first follows a comma.
    text = f"CAST({name} AS VARCHAR)"
    values = f"1 + strlen({text}) - strlen(replace({text}, ', ', ','))"
    return f"{_BYTES_PER_VALUE} + coalesce({_TEXT_IN_LIST} * strlen({text}) + {_BYTES_IN_ANY_LIST} * ({values}), 0)"
