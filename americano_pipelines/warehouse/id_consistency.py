"""Check that the ids of learners and protocols read the same in every table."""

# Joins compare the text of ids. '7' and '7.0', a text and its bytes, or a UUID in capital letters do not join, and the
# events then silently belong to no protocol. Check the built tables, so that every kind of source is covered.

from collections.abc import Callable, Iterator, Mapping, Sequence

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.errors import SourceError
from americano_pipelines.sources.column_roles import Column, SourceTable, name_key
from americano_pipelines.sources.contracts import JOINED, PROTOCOLS

_WHOLE_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_WRITTEN_ALIKE = {"VARCHAR", "UUID", *_WHOLE_NUMBERS, *(f"U{name}" for name in _WHOLE_NUMBERS)}


def check_identities(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, SourceTable], overrides: Mapping[str, str]
) -> None:
    """Refuse tables in which one learner or protocol appears under two ids.

    Args:
        connection: the file that was built.
        tables: its source tables.
        overrides: setting AMERICANO_COLUMNS; a role that it names is not a guess.

    Raises:
        SourceError: naming tables, columns and types.
    """
    for table in tables.values():
        for role in table.roles:
            if f"{table.name}.{role}" not in overrides:
                _check_one_column(connection, table, role)
    for referring, referred in _joins(tables):
        _check_join(connection, referring, referred)


def unlike_types(tables: Mapping[str, SourceTable], has_values: Callable[[str, Column], bool]) -> Iterator[str]:
    """Find columns that hold the same ids in types that are written differently, before anything is built.

    Args:
        tables: the source tables.
        has_values: whether a column of the table of that name holds anything but nulls; called only for columns that
            differ.
    """
    for sides in _joins(tables):
        if _kind(sides[0][1]) != _kind(sides[1][1]) and all(has_values(table.name, column) for table, column in sides):
            yield _describe_types(sides)


def _joins(
    tables: Mapping[str, SourceTable],
) -> Iterator[tuple[tuple[SourceTable, Column], tuple[SourceTable, Column]]]:
    """The columns of ids that belong together, as far as they are there."""
    if PROTOCOLS.name not in tables:
        return
    for table_name, role, joined_role in JOINED:
        if table_name not in tables:
            continue
        referring, referred = tables[table_name].column(role), tables[PROTOCOLS.name].column(joined_role)
        if referring is not None and referred is not None:
            yield (tables[table_name], referring), (tables[PROTOCOLS.name], referred)


def _describe_types(sides: Sequence[tuple[SourceTable, Column]]) -> str:
    return (
        f"{_names(sides)} are the same ids in types that are written differently, so no row of one would belong to any "
        "of the other. Offer both in the same type, best as text. Nothing was published"
    )


def _names(sides: Sequence[tuple[SourceTable, Column]]) -> str:
    return " and ".join(f"{table.name}.{column.name} ({column.source_type})" for table, column in sides)


def _check_one_column(connection: duckdb.DuckDBPyConnection, table: SourceTable, role: str) -> None:
    """Refuse a table in which some rows have a role's value only under another name: these would lose it."""
    chosen = table.roles[role]
    aliases = {name_key(alias) for alias in table.contract.role(role).aliases}
    others = [column.name for column in table.columns if column.name != chosen and name_key(column.name) in aliases]
    for other in others:
        count = _count(
            connection,
            f"SELECT count(*) FROM {sql.quote('analytics', table.name)} "  # noqa: S608 - quoted
            f"WHERE {sql.quote(chosen)} IS NULL AND {sql.quote(other)} IS NOT NULL",
        )
        if count:
            raise SourceError(
                f"{table.name}: the {role} column may be {chosen!r} or {other!r}: in {count:,} rows only {other!r} has "
                f'a value. Say which it is in AMERICANO_COLUMNS as {{"{table.name}.{role}": "<column>"}}, or fill '
                "one column in the source. Nothing was published"
            )


def _check_join(
    connection: duckdb.DuckDBPyConnection, referring: tuple[SourceTable, Column], referred: tuple[SourceTable, Column]
) -> None:
    sides = [_Side(table, column) for table, column in (referring, referred)]
    if _kind(referring[1]) != _kind(referred[1]):
        if all(_count(connection, f"SELECT count(*) FROM ({side.values})") for side in sides):  # noqa: S608 - quoted
            raise SourceError(_describe_types((referring, referred)))
        return
    mixed = sides[0].column.type != sides[1].column.type
    statement = sql.render(
        sql.load("warehouse", "written_differently"),
        referring=sides[0].values,
        referred=sides[1].values,
        mixed=str(mixed).lower(),
    )
    if count := _count(connection, statement):
        raise SourceError(
            f"{_names((referring, referred))} are the same ids, but {count:,} of the first are written differently in "
            "the second: with blanks, as 7.0 for 7, or as a UUID in another case. No row of these would "
            "belong to any of the other. Offer both written alike. Nothing was published"
        )


class _Side:
    """A column of ids in one table."""

    def __init__(self, table: SourceTable, column: Column) -> None:
        self.table, self.column = table, column
        name = sql.quote(column.name)
        self.values = (
            f"SELECT DISTINCT CAST({name} AS VARCHAR) AS id FROM {sql.quote('analytics', table.name)} "  # noqa: S608 - quoted
            f"WHERE {name} IS NOT NULL"
        )


def _kind(column: Column) -> str:
    """A value that is equal for columns in which the same id has the same text."""
    has_no_scale = column.type.startswith("DECIMAL(") and column.type.endswith(",0)")
    return "text" if column.type in _WRITTEN_ALIKE or has_no_scale else column.type


def _count(connection: duckdb.DuckDBPyConnection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0
