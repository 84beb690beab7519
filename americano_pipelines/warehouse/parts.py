"""Sorting in parts what does not fit into memory at once: ranges of the sort key that follow each other.

DuckDB spills while it sorts, but not the texts of the rows that it merges and appends: 400,000 rows of 750 bytes
failed at 512 MB with gigabytes free on the disk. Sorted range after range they need a fraction of the limit.
"""

from itertools import pairwise
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import memory_limit
from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.sources.postgres_scan import FAT_BYTES

Chunk = tuple[str, list[Any]]
"""SQL of a relation and the values it binds."""
# Of the memory limit, for the rows of one sort. With a quarter, 300 MB of rows took 512 MB as they were sorted.
_SHARE = 8
_BYTES_PER_VALUE = 16
_TEXT = ("VARCHAR", "JSON")
# Encoded in a file and in memory: numbers and short texts take less than a third in a file.
_DECODED = 3


def sort_key(table: SourceTable) -> list[str]:
    """The columns that a mirror is sorted by."""
    return [column.name for role in (table.contract.sort_role, "id") if (column := table.column(role))]


def in_parts(connection: duckdb.DuckDBPyConnection, table: SourceTable, chunk: Chunk) -> tuple[list[Chunk], bool]:
    """The chunk as it is where its rows fit into memory, else parts of it, in the order of the key.

    Returns:
        The parts, and whether half of the memory limit is enough to load them: to write 300 rows of a megabyte each
        DuckDB holds them all at once, and failed with half.

    Args:
        connection: the session that reads it.
        table: its columns, in the types that it is sorted in.
        chunk: a relation that can be read more than once, and the values it binds.
    """
    budget = memory_limit(connection) // _SHARE
    # Without a sort key the first column is sorted by.
    key = next((c for c in table.columns if c.name in sort_key(table)[:1]), table.columns[0])
    size, rows = _at_most(connection, table, chunk)
    if _is_nested(key) or size <= budget:
        return [chunk], False
    return _split(connection, table, chunk, key, budget), size < FAT_BYTES * rows


def _split(
    connection: duckdb.DuckDBPyConnection, table: SourceTable, chunk: Chunk, key: Column, budget: int
) -> list[Chunk]:
    """Parts of a chunk of about `budget` bytes each; rows with equal keys stay together."""
    relation, parameters = chunk
    typed = f"(SELECT {table.projection} FROM {relation})"  # noqa: S608 - quoted
    statement = sql.render(
        sql.load("warehouse", "row_bytes"),
        key=sql.quote(key.name),
        bytes=" + ".join(_bytes(column) for column in table.columns),
        relation=typed,
        budget=str(budget),
    )
    lasts = [str(row[0]) for row in connection.execute(statement, parameters).fetchall()]
    column = sql.quote(key.name)
    bounds = [f"CAST('{sql.escape(last)}' AS {key.type})" for last in lasts[:-1]]
    if not bounds:
        return [chunk]
    ranges = [f"{column} <= {bounds[0]}"]
    ranges += [f"{column} > {low} AND {column} <= {high}" for low, high in pairwise(bounds)]
    # NULL is sorted last.
    ranges.append(f"({column} > {bounds[-1]} OR {column} IS NULL)")
    return [(f"(FROM {typed} WHERE {condition})", parameters) for condition in ranges]


def _at_most(connection: duckdb.DuckDBPyConnection, table: SourceTable, chunk: Chunk) -> tuple[int, int]:
    """About the most that a chunk's rows take in memory, and how many they are.

    By the footers of its files, else by reading it.
    """
    relation, parameters = chunk
    if "read_parquet($1" in relation:
        footers = connection.execute(
            "SELECT (SELECT sum(total_uncompressed_size) FROM parquet_metadata($1)), sum(num_rows) "
            "FROM parquet_file_metadata($1)",
            parameters,
        ).fetchone() or (0, 0)
        rows = int(footers[1] or 0)
        return _DECODED * int(footers[0] or 0) + rows * _BYTES_PER_VALUE * len(table.columns), rows
    size = " + ".join(_bytes(column) for column in table.columns)
    row = connection.execute(f"SELECT sum({size}), count(*) FROM {relation}", parameters).fetchone()  # noqa: S608 - quoted
    return (int(row[0] or 0), int(row[1])) if row else (0, 0)


def _bytes(column: Column) -> str:
    """SQL of the bytes that a value takes in memory."""
    name = sql.quote(column.name)
    if column.type in _TEXT:
        return f"{_BYTES_PER_VALUE} + coalesce(strlen({name}), 0)"
    if column.type == "BLOB":
        return f"{_BYTES_PER_VALUE} + coalesce(octet_length({name}), 0)"
    if _is_nested(column):
        return f"{_BYTES_PER_VALUE} + coalesce(strlen(CAST({name} AS VARCHAR)), 0)"
    return str(_BYTES_PER_VALUE)


def _is_nested(column: Column) -> bool:
    return column.type.endswith("]") or column.type.startswith(("STRUCT", "MAP", "UNION"))
