"""Read the footers of Parquet files: names, types, number of rows. Read no row."""

# Refuse what DuckDB would change: it renames the second of two columns that differ only in case, and it holds the
# values of some types only nearly.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import is_statement_error
from americano_pipelines.errors import SourceError, TransientSourceError

_MAX_DIGITS = 38
# Logical types whose values DuckDB 1.5 reads exactly, except decimals and nanoseconds as `_Node` describes.
_EXACT = (
    "StringType",
    "IntType",
    "DecimalType",
    "DateType",
    "TimeType",
    "TimestampType",
    "UUIDType",
    "Float16Type",
    "NullType",
    "JsonType",
    "BsonType",
    "EnumType",
    "ListType",
    "MapType",
)
_NANOSECONDS = "NANOS=NanoSeconds()"


@dataclass(frozen=True)
class FileColumn:
    """A column of a file.

    Attributes:
        name: its name there.
        type: the DuckDB type; with `"NULL"` where the file has no value of any type.
        finer: it may hold instants finer than a microsecond, which DuckDB would cut off.
    """

    name: str
    type: str
    finer: bool = False


@dataclass(frozen=True)
class Footer:
    """The description of a file's content.

    Attributes:
        rows: how many it has.
        columns: its columns in order.
    """

    rows: int
    columns: tuple[FileColumn, ...]


@dataclass(frozen=True)
class _Node:
    """One element of a Parquet schema, with what lies below it."""

    name: str
    physical: str | None
    converted: str | None
    precision: int | None
    logical: str
    children: tuple["_Node", ...]

    @property
    def leaves(self) -> list["_Node"]:
        return [leaf for child in self.children for leaf in child.leaves] if self.children else [self]

    @property
    def is_finer(self) -> bool:
        """Whether it holds nanoseconds for which DuckDB has no type."""
        with_zone_or_time = self.logical.startswith("TimeType") or "isAdjustedToUTC=1" in self.logical
        return self.physical == "INT96" or (_NANOSECONDS in self.logical and with_zone_or_time)


def read_footers(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> dict[Path, Footer]:
    """Read the footers of files: 10,000 in 5 s.

    Raises:
        SourceError: a file is not a whole Parquet file, or has names or types that cannot be read exactly.
    """
    bound = [[sql.literal_path(path) for path in paths]]
    try:
        elements = connection.execute(_SCHEMA, bound).fetchall()
        counts = dict(connection.execute(_ROWS, bound).fetchall())
    except duckdb.Error as error:
        if isinstance(error, duckdb.OutOfMemoryException):
            raise
        for path in paths:
            _count_rows_of_one(connection, path)
        if is_statement_error(error):
            raise _unreadable(paths[0], error) from None
        raise TransientSourceError(
            f"one of {paths[0]} and {len(paths) - 1} more changed while it was read; nothing was published. "
            "Run the sync again when the files are complete"
        ) from None
    schemas: dict[str, list[tuple[Any, ...]]] = {}
    for name, *element in elements:
        schemas.setdefault(name, []).append(tuple(element))
    known: dict[tuple[tuple[Any, ...], ...], tuple[FileColumn, ...]] = {}
    footers = {}
    for path in paths:
        shape = tuple(sorted(schemas[str(path)], key=lambda element: int(element[0])))
        if shape not in known:
            known[shape] = _columns(connection, path, _tree([element[1:] for element in shape]))
        footers[path] = Footer(int(counts[str(path)]), known[shape])
    return footers


def check_footers(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> dict[Path, str]:
    """Check by their ends that files are whole Parquet files: 10,000 in 2 s.

    Returns:
        What is wrong with those that are not.
    """
    if not paths or _count_rows(connection, paths) is not None:
        return {}
    problems = {}
    for path in paths:
        try:
            _count_rows_of_one(connection, path)
        except SourceError as error:
            problems[path] = str(error)
    return problems


def _count_rows(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> dict[str, int] | None:
    """Rows by path; None when some file is not whole."""
    try:
        return dict(connection.execute(_ROWS, [[sql.literal_path(path) for path in paths]]).fetchall())
    except duckdb.Error:
        return None


def _count_rows_of_one(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        connection.execute(_ROWS, [[sql.literal_path(path)]]).fetchall()
    except duckdb.Error as error:
        raise _unreadable(path, error) from None


_SCHEMA = (
    "SELECT file_name, column_id, name, type, num_children, converted_type, precision, logical_type, type_length, "
    "scale FROM parquet_schema($1)"
)
_ROWS = "SELECT file_name, num_rows FROM parquet_file_metadata($1)"


def _unreadable(path: Path, error: duckdb.Error) -> SourceError:
    return SourceError(
        f"{path} cannot be read as Parquet: it is truncated, still being written, or something else. "
        f"Nothing was published. DuckDB said: {str(error).partition(chr(10) + 'LINE ')[0].strip()}"
    )


def _tree(elements: list[tuple[Any, ...]]) -> _Node:
    """The schema's elements, which are listed depth first, as a tree; takes them from the list."""
    name, physical, count, converted, precision, logical, *_ = elements.pop(0)
    children = tuple(_tree(elements) for _ in range(count or 0))
    return _Node(str(name), physical, converted, precision, str(logical or ""), children)


def _columns(connection: duckdb.DuckDBPyConnection, path: Path, root: _Node) -> tuple[FileColumn, ...]:
    _check_names(path, "the columns", root)
    for column in root.children:
        for leaf in column.leaves:
            _check_type(path, column, leaf)
    scan = "FROM read_parquet($1, hive_partitioning = false)"
    try:
        described = connection.execute(f"DESCRIBE {scan}", [sql.literal_path(path)]).fetchall()
        types: Mapping[str, str] = {str(row[0]): str(row[1]) for row in described}
        for column in root.children:
            # DESCRIBE gives INTEGER for the null type, also inside a list.
            if any(leaf.logical == "NullType()" for leaf in column.leaves):
                kind = f"SELECT typeof({sql.quote(column.name)}) {scan} LIMIT 1"
                row = connection.execute(kind, [sql.literal_path(path)]).fetchone()
                types = {**types, column.name: str(row[0]) if row else '"NULL"'}
    except duckdb.Error as error:
        raise _unreadable(path, error) from None
    return tuple(
        FileColumn(column.name, types[column.name], any(leaf.is_finer for leaf in column.leaves))
        for column in root.children
    )


def _check_names(path: Path, what: str, node: _Node) -> None:
    """Refuse names that differ only in case, and columns without a name: DuckDB would invent new names."""
    by_name: dict[str, str] = {}
    for child in node.children:
        if not child.name.strip() or "\0" in child.name:
            raise SourceError(
                f"{path}: among {what} is one without a name ({child.name!r}). Write the file with a name for each "
                "column; nothing was published"
            )
        if (twin := by_name.get(sql.folded(child.name))) is not None:
            raise SourceError(
                f"{path}: {what} {twin!r} and {child.name!r} have the same name but for case, which DuckDB cannot "
                "tell apart. Write the file with another name for one of them; nothing was published"
            )
        by_name[sql.folded(child.name)] = child.name
        _check_names(path, f"the fields of column {child.name!r},", child)


def _check_type(path: Path, column: _Node, leaf: _Node) -> None:
    digits = leaf.precision or 0
    if "DECIMAL" in (leaf.converted or "") or leaf.logical.startswith("DecimalType"):
        if digits > _MAX_DIGITS:
            raise SourceError(
                f"{path}: column {column.name!r} is a decimal of {digits} digits; DuckDB holds at most {_MAX_DIGITS} "
                "exactly. Write it with fewer digits or as text; nothing was published"
            )
    elif leaf.logical and not leaf.logical.startswith(_EXACT):
        raise SourceError(
            f"{path}: column {column.name!r} is of the Parquet type {leaf.logical}, whose values DuckDB may not "
            "keep exactly. Write it as text; nothing was published"
        )
