"""Describe tables, views and their columns: the texts of the contracts and models, as comments in a DuckDB file.

A shell shows them (`FROM duckdb_columns()`), and Dagster's pages show the same texts.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.sources.column_roles import Column
from americano_pipelines.sources.contracts import TableContract


def column_descriptions(contract: TableContract, columns: Sequence[Column], roles: Mapping[str, str]) -> dict[str, str]:
    """What each column of a source table holds: by its roles, else by its type in the source.

    Args:
        contract: the table's.
        columns: its columns.
        roles: role name to column name.
    """
    described: dict[str, list[str]] = {}
    for role, column in roles.items():
        described.setdefault(column, []).append(contract.role(role).description)
    return {
        column.name: " ".join(
            described.get(column.name, [f"As in the source, where its type is {column.source_type}."])
        )
        for column in columns
    }


def comment_on(
    connection: duckdb.DuckDBPyConnection,
    kind: Literal["TABLE", "VIEW"],
    path: tuple[str, str],
    description: str,
    columns: Mapping[str, str],
) -> None:
    """Write the description of a table or view and of its columns into the file.

    Args:
        connection: the file, open for writing, its catalog in use.
        kind: what it is.
        path: schema and name.
        description: what a row is.
        columns: column name to what it holds.
    """
    target = sql.quote(*path)
    connection.execute(f"COMMENT ON {kind} {target} IS '{sql.escape(description)}'")
    for column, text in columns.items():
        connection.execute(f"COMMENT ON COLUMN {target}.{sql.quote(column)} IS '{sql.escape(text)}'")
