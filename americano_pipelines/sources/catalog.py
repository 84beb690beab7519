"""Finding the source tables in Postgres, and their columns.

Here belongs reading Postgres's catalog. Which DuckDB type holds a column exactly is `types.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from americano_pipelines import sql
from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import Settings, split_table
from americano_pipelines.sources.contracts import CONTRACTS, EVENTS, TableContract
from americano_pipelines.sources.postgres import Snapshot, literal
from americano_pipelines.sources.tables import Column, SourceTable, check_role_types, find_roles
from americano_pipelines.sources.types import PostgresType, exact_type, misfit


@dataclass(frozen=True)
class PostgresTable(SourceTable):
    """A source table in Postgres.

    Attributes:
        schema: the schema it lies in.
        relation: its own name there.
        has_row_versions: it is a plain table, so every row has an xmin; a view has none.
        key: the id column, where it can be neither null nor repeated.
        row_security: policies are in force on it.
    """

    schema: str
    relation: str
    has_row_versions: bool
    key: str | None
    row_security: bool

    @property
    def misfits(self) -> str:
        """SQL for Postgres that is true for a row with a value that its column's DuckDB type cannot hold."""
        conditions = [misfit(column.name, column.type) for column in self.columns if not column.as_text]
        return " OR ".join(condition for condition in conditions if condition) or "false"


def find_tables(
    snapshot: Snapshot, settings: Settings, *, hold: bool = True
) -> tuple[dict[str, PostgresTable], dict[str, str]]:
    """Look for every source table under each of its names.

    Args:
        snapshot: where to look.
        settings: names that differ.
        hold: the rows will be copied, so keep them from being taken away meanwhile; False only to look.

    Returns:
        The tables found, by warehouse name; and for the others why they are skipped.

    Raises:
        SourceError: the events are not there, a table may not be read, or a column cannot be copied exactly.
    """
    found: dict[str, PostgresTable] = {}
    skipped: dict[str, str] = {}
    for contract in CONTRACTS:
        names = source_names(contract, settings, snapshot.target.schema)
        listing = snapshot.query(
            sql.render(
                sql.load("sources", "tables"),
                schemas=literal(list({schema for schema, _ in names})),
                names=literal([name for _, name in names]),
            )
        )
        present = {(str(row[0]), str(row[1])): row for row in listing}
        match = next((name for name in names if name in present), None)
        if match is not None:
            found[contract.name] = _describe(snapshot, settings, contract, present[match])
            continue
        reason = f"no table {' or '.join('.'.join(name) for name in names)} in {snapshot.target.label}"
        if contract is EVENTS:
            raise SourceError(f"{reason}. Set PG_EVENTS_TABLE if the events table has another name")
        skipped[contract.name] = reason
    if hold:
        _hold_still(snapshot, found)
    return found, skipped


def _hold_still(snapshot: Snapshot, found: Mapping[str, PostgresTable]) -> None:
    """Lock every table against being emptied or replaced, and make sure that none was since the snapshot.

    TRUNCATE, DROP and a rewriting ALTER are not transactional in what older snapshots see: afterwards the table
    reads as empty, in the copy and in the figures alike. A nightly "truncate and reload" would be published as
    nothing.

    Raises:
        TransientSourceError: one was emptied, rewritten or replaced after the snapshot was taken.
    """
    for table in found.values():
        relation = sql.quote(table.schema, table.relation)
        snapshot.query(f"SELECT 1 AS locked FROM {relation} LIMIT 0", table.found_as)  # noqa: S608 - quoted
    for table in found.values():
        statement = sql.render(
            sql.load("sources", "replaced"), schemas=literal([table.schema]), names=literal([table.relation])
        )
        if replaced := [str(row[0]) for row in snapshot.query(statement, table.found_as)]:
            raise TransientSourceError(
                f"{table.found_as}: {', '.join(replaced)} was emptied, rewritten or replaced while the copy began, so "
                "its rows as of the snapshot are gone. Nothing was copied; the next attempt takes a new snapshot"
            )


def source_names(contract: TableContract, settings: Settings, schema: str) -> list[tuple[str, str]]:
    """The (schema, name) pairs a table may be found under, the most likely first."""
    if contract is EVENTS and settings.pg_events_table:
        own_schema, own_name = split_table(settings.pg_events_table)
        return [(own_schema or schema, own_name)]
    return [(schema, name) for name in contract.source_names]


def _describe(
    snapshot: Snapshot, settings: Settings, contract: TableContract, row: tuple[object, ...]
) -> PostgresTable:
    schema, relation, _, readable, row_security, has_row_versions = row
    found_as = f"{schema}.{relation}"
    if not readable:
        raise SourceError(
            f"{snapshot.target.label}: the role {snapshot.target.user!r} may not read {found_as}. "
            f"GRANT SELECT ON {sql.quote(str(schema), str(relation))} TO {sql.quote(snapshot.target.user)}"
        )
    rows = snapshot.query(
        sql.render(
            sql.load("sources", "columns"),
            schemas=literal([str(schema)]),
            names=literal([str(relation)]),
        )
    )
    columns = tuple(_column(row) for row in rows)
    roles = find_roles(contract, [c.name for c in columns], settings.americano_columns, found_as)
    check_role_types(found_as, columns, roles)
    return PostgresTable(
        contract=contract,
        found_as=found_as,
        columns=columns,
        roles=roles,
        schema=str(schema),
        relation=str(relation),
        has_row_versions=bool(has_row_versions),
        key=next((str(name) for name, *_, is_key in rows if is_key and name == roles.get("id")), None),
        row_security=bool(row_security),
    )


def _column(row: tuple[Any, ...]) -> Column:
    name, shown_type, type_name, kind, element, element_kind, dimensions, precision, scale, nullable, detail, _ = row
    exact = exact_type(PostgresType(type_name, kind, element, element_kind, dimensions, precision, scale))
    return Column(
        name=str(name),
        source_type=str(shown_type),
        type=exact or "VARCHAR",
        nullable=bool(nullable),
        detail=str(detail or ""),
        as_text=exact is None,
    )
