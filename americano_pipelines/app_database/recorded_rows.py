"""Read what rows of the app show of recorded analyses: one row as far as the role may, hashes of a protocol's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from americano_pipelines.app_database.column_values import SUMMARY, is_json
from americano_pipelines.app_database.connection import connected
from americano_pipelines.settings import PostgresTarget


def recorded_hashes(target: PostgresTarget, protocol_id: str) -> dict[str, str]:
    """Hash of each record that the rows of a protocol show, to the row.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    from sqlalchemy import select

    with connected(target) as (connection, table):
        if not is_json(table, SUMMARY):
            return {}
        query = select(table.c.id, table.c[SUMMARY]).where(table.c.protocolId == protocol_id)
        rows = connection.execute(query).all()
    hashes = {row_id: summary.get("provenance_sha256") for row_id, summary in rows if isinstance(summary, dict)}
    return {sha256: row_id for row_id, sha256 in hashes.items() if isinstance(sha256, str)}


def rows_showing(target: PostgresTarget, sha256: str, mlflow_run_id: str) -> list[str]:
    """Ids of all rows that show a record, by its hash or by its MLflow run.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    from sqlalchemy import or_, select

    with connected(target) as (connection, table):
        conditions = [table.c.mlflowRunId == mlflow_run_id] if "mlflowRunId" in table.c else []
        if is_json(table, SUMMARY):
            conditions.append(table.c[SUMMARY]["provenance_sha256"].as_string() == sha256)
        if not conditions:
            return []
        return sorted(map(str, connection.execute(select(table.c.id).where(or_(*conditions))).scalars()))


@dataclass(frozen=True)
class ReadColumns:
    """Columns of a row.

    Attributes:
        values: column to value, without a column that the table lacks.
        unreadable: the columns that the role may not read.
    """

    values: Mapping[str, Any]
    unreadable: frozenset[str]


def read_columns(target: PostgresTarget, analysis_run_id: str, names: Sequence[str]) -> ReadColumns | None:
    """Read columns of a row, as far as the role may; None when the row does not exist.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    from sqlalchemy import func, literal, select

    with connected(target) as (connection, table):
        present = [name for name in names if name in table.c]
        relation = connection.dialect.identifier_preparer.format_table(table)
        allowed = [func.has_column_privilege(literal(relation), literal(name), "SELECT") for name in present]
        readable = connection.execute(select(*allowed)).one()
        unreadable = frozenset(name for name, may in zip(present, readable, strict=True) if not may)
        query = select(table.c.id, *(table.c[name] for name in present if name not in unreadable))
        row = connection.execute(query.where(table.c.id == analysis_run_id)).mappings().first()
        return ReadColumns(dict(row), unreadable) if row else None
