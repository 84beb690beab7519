"""Match the columns of a source table to the roles of its contract, and check their types."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from americano_pipelines.common import sql
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.errors import ConfigError, SourceError
from americano_pipelines.sources.contracts import BY_NAME, TableContract

_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("FLOAT", "DOUBLE", "DECIMAL"),
)


@dataclass(frozen=True)
class Column:
    """A column of a source table.

    Attributes:
        name: its name in the source, case kept.
        source_type: its type as the source names it.
        type: the DuckDB type that holds its values exactly.
        nullable: whether the source admits nulls.
        detail: what else changes how values read: a default, enum labels, attributes, at any depth of its type.
        as_text: only the source's own text holds its values exactly, so the text is copied.
    """

    name: str
    source_type: str
    type: str
    nullable: bool = True
    detail: str = ""
    as_text: bool = False

    @property
    def is_nested(self) -> bool:
        """Whether DuckDB holds its values as lists or structures of other values."""
        return self.type.endswith("]") or self.type.startswith(("STRUCT", "MAP", "UNION"))

    @property
    def is_list(self) -> bool:
        """Whether DuckDB holds its values as lists."""
        return self.type.endswith("[]")

    @property
    def is_number(self) -> bool:
        """Whether DuckDB holds its values as numbers."""
        return self.type.startswith(_NUMBERS) and not self.is_nested


@dataclass(frozen=True)
class SourceTable:
    """A source table with its columns and roles.

    Attributes:
        contract: its contract.
        found_as: where, for people: `public.behavioral_events` or a path.
        columns: its columns in order.
        roles: role name to column name; an optional role that no column plays is absent.
        identity: hash that distinguishes it from another table of its name; empty for files, which have hashes.
    """

    contract: TableContract
    found_as: str
    columns: tuple[Column, ...]
    roles: Mapping[str, str]
    identity: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        """Its name in the warehouse."""
        return self.contract.name

    def column(self, role: str) -> Column | None:
        """The column that plays a role, None when none does."""
        name = self.roles.get(role)
        return next((column for column in self.columns if column.name == name), None)

    @property
    def projection(self) -> str:
        """The select list that gives every column under its own name in its exact type."""
        return ", ".join(f"CAST({sql.quote(c.name)} AS {c.type}) AS {sql.quote(c.name)}" for c in self.columns)

    @property
    def schema_sha256(self) -> str:
        """Hash of names, types, defaults and enum labels: changes that touch no row show here."""
        columns = [(c.name, c.source_type, c.type, c.nullable, c.detail) for c in self.columns]
        return sha256_hex(canonical_json([columns, dict(self.roles)], ascii_only=True, spaced=True))


_TIMES = ("DATE", "TIMESTAMP")
# Their values are compared, joined or calculated with. DuckDB makes no index of several values either.
_SINGLE_VALUES = ("id", "learner", "protocol", "phase", "label", "type", "status", "outcome", "seed")
_SEVERAL_VALUES = ("VARIANT", "INTERVAL")
# Both engines write these types differently as text, and ids are hashed as text.
_NO_IDS = ("FLOAT", "DOUBLE", "BLOB", *_TIMES)
_ROLE_TYPES = {
    "time": _TIMES,
    "start": _TIMES,
    "end": _TIMES,
    "planned_days": ("INTEGER", "BIGINT", "SMALLINT", "TINYINT", "HUGEINT", "UINTEGER", "UBIGINT", "USMALLINT"),
}


def find_roles(
    contract: TableContract, columns: Sequence[str], overrides: Mapping[str, str], found_as: str
) -> dict[str, str]:
    """Find the column that plays each role.

    Args:
        contract: the table's contract.
        columns: the column names that are there.
        overrides: `"table.role"` to column name (setting AMERICANO_COLUMNS).
        found_as: where the table was found, for the message.

    Returns:
        Role name to column name, for the roles that are played.

    Raises:
        ConfigError: an override names a column that is not there.
        SourceError: no column plays a required role, or two names differ only in case.
    """
    folded = [sql.folded(column) for column in columns]
    if twins := sorted({column for column in columns if folded.count(sql.folded(column)) > 1}):
        raise SourceError(
            f"{found_as}: the columns {', '.join(twins)} differ only in case, which DuckDB cannot tell apart. "
            "Offer a view that renames one of them"
        )
    by_key: dict[str, str] = {}
    for column in columns:
        by_key.setdefault(name_key(column), column)
    roles = {}
    for role in contract.roles:
        override = overrides.get(f"{contract.name}.{role.name}")
        if override is not None:
            if override not in columns:
                raise ConfigError(
                    f"AMERICANO_COLUMNS: {contract.name}.{role.name} is set to {override!r}, "
                    f"but {found_as} has the columns {', '.join(columns)}"
                )
            roles[role.name] = override
            continue
        match = next((by_key[name_key(alias)] for alias in role.aliases if name_key(alias) in by_key), None)
        if match is not None:
            roles[role.name] = match
        elif role.required:
            raise SourceError(
                f"{found_as} has no {role.name} column: none of {', '.join(role.aliases)} is among its "
                f"columns ({', '.join(columns)}). Rename the column, or name it in AMERICANO_COLUMNS as "
                f'{{"{contract.name}.{role.name}": "<column>"}}'
            )
    return roles


def check_role_types(
    found_as: str, columns: Sequence[Column], roles: Mapping[str, str], composite: Collection[str] = ()
) -> None:
    """Refuse columns of a wrong type for their role: a time that is text, days that are no number, a list of learners.

    Args:
        found_as: where the table was found, for the message.
        columns: its columns.
        roles: role name to column name.
        composite: names of columns whose values have parts though they are copied as one text.

    Raises:
        SourceError: naming the column, its role and the type it has.
    """
    types = {column.name: column for column in columns}
    for role, name in roles.items():
        column = types[name]
        allowed = _ROLE_TYPES.get(role)
        if allowed and (not column.type.startswith(allowed) or _has_several_values(column)):
            raise SourceError(
                f"{found_as}: the {role} column {name!r} has type {column.source_type}; it must be "
                f"{'a whole number' if role == 'planned_days' else 'a date or a timestamp'}"
            )
        if role in _SINGLE_VALUES and (_has_several_values(column) or name in composite):
            raise SourceError(
                f"{found_as}: the {role} column {name!r} has type {column.source_type}; it must be a single value, "
                "such as a text or a number. Offer one (in Postgres by a view, in files by a column of its own), or "
                f'name another column in AMERICANO_COLUMNS as {{"<table>.{role}": "<column>"}}. Nothing was published'
            )
        if role == "id" and column.type.startswith(_NO_IDS):
            raise SourceError(
                f"{found_as}: the id column {name!r} has type {column.source_type}, which Postgres and DuckDB write "
                "differently, so a copy of it could not be checked. Offer a view with the id as text"
            )


def _has_several_values(column: Column) -> bool:
    """Whether a value has parts. Postgres's arrays of types that DuckDB lacks are copied as text."""
    return column.is_nested or column.source_type.endswith("]") or column.type.startswith(_SEVERAL_VALUES)


def check_overrides(overrides: Mapping[str, str]) -> None:
    """Refuse overrides of roles that do not exist.

    Raises:
        ConfigError: naming the wrong key and the ones there are.
    """
    known = {f"{contract.name}.{role.name}" for contract in BY_NAME.values() for role in contract.roles}
    for key in overrides:
        if key not in known:
            raise ConfigError(f"AMERICANO_COLUMNS: {key!r} is not a role; the roles are {', '.join(sorted(known))}")


def name_key(name: str) -> str:
    """A name in the form in which names and aliases are compared: without case, underscores and outer blanks."""
    return name.strip().replace("_", "").casefold()
