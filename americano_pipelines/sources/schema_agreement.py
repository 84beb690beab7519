"""Combine the columns of several files into the columns of one table, or explain why that is impossible."""

# Columns are the same when they have the same name (but for case), or play the same role and no file has both: then one
# was renamed. Types must be equal; a file without rows and a column without values agree with any type.

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.quoted_values import redact_values
from americano_pipelines.errors import SourceError
from americano_pipelines.sources.column_roles import Column, find_roles, name_key
from americano_pipelines.sources.contracts import TableContract
from americano_pipelines.sources.parquet_footers import FileColumn, Footer

NULL = '"NULL"'
_QUOTED = re.compile('"(?:[^"]|"")*"')
# Without them a row has no learner or no identity: a file that lacks one has it under an unknown name.
_IN_EVERY_FILE = ("id", "learner")
_TYPE_WITHOUT_VALUES = {"time": "TIMESTAMP", "start": "TIMESTAMP", "end": "TIMESTAMP", "planned_days": "INTEGER"}


@dataclass(frozen=True)
class Part:
    """Files of a table that are read with the same SQL.

    Attributes:
        paths: the files.
        values: SQL of each of the table's columns that they have, by the column's name.
    """

    paths: tuple[Path, ...]
    values: Mapping[str, str]


@dataclass(frozen=True)
class Agreement:
    """The common columns and roles of files, and how each file provides them."""

    columns: tuple[Column, ...]
    roles: Mapping[str, str]
    parts: tuple[Part, ...]


def combine_columns(
    connection: duckdb.DuckDBPyConnection,
    contract: TableContract,
    footers: Mapping[Path, Footer],
    keys: Mapping[str, str],
    overrides: Mapping[str, str],
) -> Agreement:
    """Combine files into one table.

    Args:
        connection: where values are counted, in the columns whose types differ.
        contract: the table's contract.
        footers: the files with rows, in order of their names.
        keys: column and type of each folder key.
        overrides: setting AMERICANO_COLUMNS.

    Raises:
        SourceError: naming the files and the columns that do not agree.
        ConfigError: an override names a column that a file does not have.
    """
    roles, names = _roles(contract, footers, keys, overrides)
    spelled: dict[str, str] = {}
    columns_given: dict[str, dict[Path, FileColumn]] = {}
    for path, footer in footers.items():
        for column in footer.columns:
            spelling = names[path].get(column.name, column.name)
            name = spelled.setdefault(sql.folded(spelling), spelling)
            columns_given.setdefault(name, {})[path] = column
    played = {name: role for role, name in roles.items()}
    types = {name: _type(connection, by_path, played.get(name, "")) for name, by_path in columns_given.items()}
    columns = [Column(name, kind, kind) for name, kind in {**types, **keys}.items()]
    parts: dict[tuple[tuple[tuple[str, str], ...], tuple[str, ...]], list[Path]] = {}
    for path in footers:
        values = {
            name: _value(by_path[path], types[name]) for name, by_path in columns_given.items() if path in by_path
        } | {name: f"CAST({sql.quote(name)} AS {kind})" for name, kind in keys.items()}
        # DuckDB reads the files of one scan with the types of the first, and changes no null type within another.
        open_types = tuple(column.type for column in footers[path].columns if _has_null_type(column.type))
        parts.setdefault((tuple(values.items()), open_types), []).append(path)
    return Agreement(
        tuple(columns),
        {role: spelled.get(sql.folded(name), name) for role, name in roles.items()},
        tuple(Part(tuple(paths), dict(values)) for (values, _), paths in parts.items()),
    )


def _roles(
    contract: TableContract, footers: Mapping[Path, Footer], keys: Mapping[str, str], overrides: Mapping[str, str]
) -> tuple[dict[str, str], dict[Path, dict[str, str]]]:
    """The column of each role in the table, and the new names that columns of single files get for it."""
    by_names: dict[tuple[str, ...], dict[str, str]] = {}
    players: dict[str, dict[str, list[Path]]] = {}
    names_of = {path: (*(column.name for column in footer.columns), *keys) for path, footer in footers.items()}
    for path, names in names_of.items():
        if names not in by_names:
            by_names[names] = find_roles(contract, names, overrides, str(path))
        for role, name in by_names[names].items():
            players.setdefault(role, {}).setdefault(name, []).append(path)
    roles: dict[str, str] = {}
    columns_given: dict[Path, dict[str, str]] = {path: {} for path in footers}
    for role, columns in players.items():
        roles[role] = _best(contract, role, list(columns))
        for name, paths in columns.items():
            if sql.folded(name) == sql.folded(roles[role]):
                continue
            _refuse_both(contract, role, (roles[role], name), columns[roles[role]], paths[0], names_of)
            for path in paths:
                columns_given[path][name] = roles[role]
        having = {path for paths in columns.values() for path in paths}
        incomplete = [path for path in footers if path not in having]
        if incomplete and role in _IN_EVERY_FILE:
            other = next(iter(columns.values()))[0]
            raise SourceError(
                f"{incomplete[0]} has no {role} column (none of {', '.join(contract.role(role).aliases)} is among its "
                f"columns {', '.join(names_of[incomplete[0]])}), but {other} has {roles[role]!r}. Rename the column in "
                "the file that lacks it; nothing was published"
            )
    return roles, columns_given


def _best(contract: TableContract, role: str, names: Sequence[str]) -> str:
    """The name of a role's column that comes first in the contract, of those in the files."""
    aliases = [name_key(alias) for alias in contract.role(role).aliases]
    return names[0] if len(names) == 1 else min(names, key=lambda name: aliases.index(name_key(name)))


def _refuse_both(
    contract: TableContract,
    role: str,
    pair: tuple[str, str],
    having: Sequence[Path],
    other: Path,
    names_of: Mapping[Path, Sequence[str]],
) -> None:
    """A column was renamed only if no file has it under both names; else which of them plays the role is a guess."""
    for path in having:
        if sql.folded(pair[1]) in {sql.folded(name) for name in names_of[path]}:
            raise SourceError(
                f"{contract.name}: the {role} column may be {pair[0]!r} or {pair[1]!r}: {path} has both, {other} only "
                f"{pair[1]!r}. Say which it is in AMERICANO_COLUMNS, or rename columns so that the files agree; "
                "nothing was published"
            )


def _type(connection: duckdb.DuckDBPyConnection, columns: Mapping[Path, FileColumn], role: str) -> str:
    """The type of a column's values over the files."""
    by_type: dict[str, dict[Path, FileColumn]] = {}
    for path, column in columns.items():
        by_type.setdefault(column.type, {})[path] = column
    kinds = _distinct(list(by_type))
    if len(kinds) > 1:
        # A day without any value is written as a column of doubles.
        kinds = [kind for kind in kinds if _has_values(connection, by_type[kind])] or kinds[:1]
    if len(kinds) > 1:
        (path, column), (other, known) = (next(iter(by_type[kind].items())) for kind in (kinds[1], kinds[0]))
        renamed = f"column {known.name!r} " if sql.folded(column.name) != sql.folded(known.name) else ""
        raise SourceError(
            f"{path}: column {column.name!r} is {column.type}, but {renamed}{known.type} in {other}. Files of one "
            "table must agree on types; nothing was published"
        )
    if kinds[0] == NULL:
        return _TYPE_WITHOUT_VALUES.get(role, "VARCHAR")
    return "VARCHAR".join(_split_at_null_types(kinds[0]))


def _distinct(types: Sequence[str]) -> list[str]:
    """The types that differ, apart from what one type states and another leaves open."""
    definite = [kind for kind in types if not _has_null_type(kind)]
    open_ones = [kind for kind in types if _has_null_type(kind) and not any(_fits(kind, other) for other in definite)]
    kinds = definite + [kind for kind in open_ones if kind != NULL]
    return [kind for kind in types if kind in kinds] or [NULL]


def _fits(open_type: str, definite: str) -> bool:
    """Whether a type equals the other where it is not null: `"NULL"[]` and `INTEGER[]`."""
    return re.fullmatch(".+".join(map(re.escape, _split_at_null_types(open_type))), definite) is not None


def _has_null_type(kind: str) -> bool:
    """Whether a type is null, or has a null type in it."""
    return len(_split_at_null_types(kind)) > 1


def _split_at_null_types(kind: str) -> list[str]:
    """The parts of a type before, between and after its null types. A field's name may be `"NULL"` too."""
    parts, start = [], 0
    for quoted in _QUOTED.finditer(kind):
        is_name = kind.startswith(" ", quoted.end())  # of a field, before its type
        if quoted[0] == NULL and not is_name:
            parts.append(kind[start : quoted.start()])
            start = quoted.end()
    return [*parts, kind[start:]]


def _has_values(connection: duckdb.DuckDBPyConnection, columns: Mapping[Path, FileColumn]) -> bool:
    by_name: dict[str, list[str]] = {}
    for path, column in columns.items():
        by_name.setdefault(column.name, []).append(sql.literal_path(path))
    for name, paths in by_name.items():
        statement = f"SELECT count({sql.quote(name)}) FROM read_parquet($1, hive_partitioning = false)"  # noqa: S608 - quoted
        try:
            counted = connection.execute(statement, [paths]).fetchone()
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            raise SourceError(
                f"column {name!r} cannot be read whole in {next(iter(columns))} or a file like it; nothing was "
                f"published. DuckDB said: {redact_values(str(error).strip())}"
            ) from None
        if counted != (0,):
            return True
    return False


def _value(column: FileColumn, target: str) -> str:
    """SQL of a column of a file in the table's type; what has another type has no values."""
    if column.type == target:
        return sql.quote(column.name)
    nested = _has_null_type(column.type) and column.type != NULL and _fits(column.type, target)
    return f"CAST({sql.quote(column.name) if nested else 'NULL'} AS {target})"
