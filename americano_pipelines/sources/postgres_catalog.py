"""Read the source tables and their columns from Postgres's catalog, with an exact DuckDB type for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from americano_pipelines.common import sql
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import LockedSourceError, SourceError, UnsteadySourceError
from americano_pipelines.settings import Settings, split_table
from americano_pipelines.sources.column_roles import Column, SourceTable, check_role_types, find_roles
from americano_pipelines.sources.contracts import CONTRACTS, EVENTS, TableContract
from americano_pipelines.sources.postgres_snapshot import Snapshot, literal
from americano_pipelines.sources.postgres_types import PostgresType, exact_type, unrepresentable

_COMPOSITE = "c"
UNSTEADY = (
    "the table, a column or a type was changed, swapped or removed while it was read (a migration does this). Nothing "
    "was copied; the next attempt takes a new snapshot"
)


@dataclass(frozen=True)
class PostgresTable(SourceTable):
    """A source table in Postgres.

    Attributes:
        schema: the schema it lies in.
        relation: its own name there.
        has_row_versions: it is a plain table, so every row has an xmin; a view has none.
        key: the id column, where it can be neither null nor repeated.
        row_security: policies are in force on it.
        names_objects: a column has values such as `regclass` or `aclitem`, whose text changes with the names of other
            objects and with search_path.
        parts: it and all below it (partitions, children, what a view reads), as they were when it was locked; empty
            without a lock.
    """

    schema: str
    relation: str
    has_row_versions: bool
    key: str | None
    row_security: bool
    parts: tuple[str, ...] = ()
    names_objects: bool = False

    @property
    def row_versions_suffice(self) -> bool:
        """Whether a row that reads differently than before has another version."""
        return self.has_row_versions and not self.names_objects

    @property
    def unrepresentable_rows(self) -> str:
        """SQL for Postgres that is true for a row with a value that its column's DuckDB type cannot hold."""
        conditions = [unrepresentable(column.name, column.type) for column in self.columns if not column.as_text]
        return " OR ".join(condition for condition in conditions if condition) or "false"


def find_tables(
    snapshot: Snapshot, settings: Settings, *, hold: bool = True
) -> tuple[dict[str, PostgresTable], dict[str, str]]:
    """Find every source table under one of its names.

    Args:
        snapshot: the snapshot to search.
        settings: the events table's own name, and columns for roles.
        hold: lock the tables, because their rows will be copied; False only to look.

    Returns:
        The tables found, by warehouse name; and for the others why they are skipped.

    Raises:
        SourceError: the events are not there, a table may not be read, or a column cannot be copied exactly.
        LockedSourceError: a table is locked, with the sessions that lock it.
    """
    try:
        return _find_tables(snapshot, settings, hold=hold)
    except LockedSourceError as error:
        raise with_lock_holders(snapshot, error) from None


def with_lock_holders(snapshot: Snapshot, error: LockedSourceError) -> LockedSourceError:
    """Add the sessions that hold the lock, as far as the role may see them.

    Args:
        snapshot: the snapshot that failed. It is renewed, so nothing that was read in it counts any more.
        error: its failure.
    """
    try:
        snapshot.renew(keep=False)
        holders = snapshot.query(sql.load("sources", "lock_holders"))
    except SourceError:
        # The server went away meanwhile. The first error still holds.
        holders = []
    described = "; ".join(_describe_holder(holder) for holder in holders)
    return LockedSourceError(f"{error}. {described or 'By now no session locks a table'}")


def _describe_holder(holder: Sequence[Any]) -> str:
    pid, relations, granted, role, application, seconds = holder
    # Of other roles' sessions a role without pg_read_all_stats sees only some of this.
    details = [f"role {role!r}"] if role else []
    details += [f"application {application!r}"] if application else []
    details += [f"transaction open for {seconds} seconds"] if seconds is not None else []
    known = f" ({', '.join(details)})" if details else ""
    does = f"{known} {'locks' if granted else 'waits to lock'} {relations}"
    if pid is None:
        return f"A prepared transaction{does} (see pg_prepared_xacts)"
    return f"Process {pid}{does}; SELECT pg_terminate_backend({pid}) ends it"


def _find_tables(
    snapshot: Snapshot, settings: Settings, *, hold: bool
) -> tuple[dict[str, PostgresTable], dict[str, str]]:
    tables: dict[str, PostgresTable] = {}
    skipped: dict[str, str] = {}
    for contract in CONTRACTS:
        names = source_names(contract, settings.pg_events_table, snapshot.target.schema)
        listing = snapshot.query(
            sql.render(
                sql.load("sources", "tables"),
                schemas=literal(list({schema for schema, _ in names})),
                names=literal([name for _, name in names]),
            ),
            " or ".join(".".join(name) for name in names),
        )
        present = {(str(row[0]), str(row[1])): row for row in listing}
        match = next((name for name in names if name in present), None)
        if match is not None:
            tables[contract.name] = _describe(snapshot, settings.americano_columns, contract, present[match])
            continue
        reason = f"no table {' or '.join('.'.join(name) for name in names)} in {snapshot.target.label}"
        if contract is EVENTS:
            raise SourceError(f"{reason}. Set PG_EVENTS_TABLE if the events table has another name")
        skipped[contract.name] = reason
    if hold:
        tables = _lock_tables(snapshot, tables)
    return tables, skipped


def _lock_tables(snapshot: Snapshot, tables: Mapping[str, PostgresTable]) -> dict[str, PostgresTable]:
    """Lock every table against being emptied or replaced, and make sure that none was since the snapshot.

    TRUNCATE, DROP and a rewriting ALTER are not transactional in what older snapshots see: afterwards the table
    reads as empty, in the copy and in the figures alike. A nightly "truncate and reload" would be published as
    nothing.

    Returns:
        The tables with their parts.

    Raises:
        UnsteadySourceError: one was emptied, rewritten, replaced or removed after the snapshot was taken.
    """
    for table in tables.values():
        relation = sql.quote(table.schema, table.relation)
        try:
            snapshot.query(f"SELECT 1 AS locked FROM {relation} LIMIT 0", table.found_as)  # noqa: S608 - quoted
        except SourceError as error:
            if "does not exist" not in str(error):
                raise
            raise UnsteadySourceError(f"{table.found_as}: {UNSTEADY}. Now: {error}") from None
    held = {}
    for name, table in tables.items():
        parts = parts_of(snapshot, table)
        if replaced := [str(relation) for relation, _, is_replaced in parts if is_replaced]:
            raise UnsteadySourceError(
                f"{table.found_as}: {', '.join(replaced)} was emptied, rewritten or replaced while the copy began, so "
                "its rows as of the snapshot are gone. Nothing was copied; the next attempt takes a new snapshot"
            )
        held[name] = replace(table, parts=identities(parts))
    return held


def parts_of(snapshot: Snapshot, table: PostgresTable) -> list[tuple[Any, ...]]:
    """A table and all below it: name, identity, whether it was emptied or replaced since the snapshot."""
    statement = sql.render(
        sql.load("sources", "parts"), schemas=literal([table.schema]), names=literal([table.relation])
    )
    return snapshot.query(statement, table.found_as)


def identities(parts: list[tuple[Any, ...]]) -> tuple[str, ...]:
    """The identities of the parts."""
    return tuple(str(identity) for _, identity, _ in parts)


def source_names(contract: TableContract, events_table: str | None, schema: str) -> list[tuple[str, str]]:
    """The (schema, name) pairs a table may be found under, the most likely first."""
    if contract is EVENTS and events_table:
        own_schema, own_name = split_table(events_table)
        return [(own_schema or schema, own_name)]
    return [(schema, name) for name in contract.source_names]


def _describe(
    snapshot: Snapshot, overrides: Mapping[str, str], contract: TableContract, row: tuple[object, ...]
) -> PostgresTable:
    schema, relation, identity, readable, row_security, has_row_versions = row
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
        ),
        found_as,
    )
    columns = tuple(_column(row) for row in rows)
    roles = find_roles(contract, [c.name for c in columns], overrides, found_as)
    check_role_types(found_as, columns, roles, {str(row[0]) for row in rows if row[3] == _COMPOSITE})
    return PostgresTable(
        contract=contract,
        found_as=found_as,
        columns=columns,
        roles=roles,
        identity=sha256_hex(str(identity).encode()),
        schema=str(schema),
        relation=str(relation),
        has_row_versions=bool(has_row_versions),
        key=next((str(name) for name, *_, is_key, _ in rows if is_key and name == roles.get("id")), None),
        row_security=bool(row_security),
        names_objects=any(names_objects for *_, names_objects in rows),
    )


def _column(row: tuple[Any, ...]) -> Column:
    name, shown_type, type_name, kind, element, element_kind, dimensions, precision, scale, nullable, detail, *_ = row
    exact = exact_type(PostgresType(type_name, kind, element, element_kind, dimensions, precision, scale))
    return Column(
        name=str(name),
        source_type=str(shown_type),
        type=exact or "VARCHAR",
        nullable=bool(nullable),
        detail=str(detail or ""),
        as_text=exact is None,
    )
