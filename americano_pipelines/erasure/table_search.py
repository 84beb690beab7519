"""Search the tables of a snapshot and of the lake for a learner."""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect, is_resource_error
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.erasure.spellings import escaped_pattern, named_in_json
from americano_pipelines.lake import manifest as lake
from americano_pipelines.lake.manifest import LakeTable
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.sources.column_roles import Column, name_key
from americano_pipelines.sources.contracts import EVENTS, PROTOCOLS
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

# Aliases that no column has.
_ROWS, _LEARNER, _KEPT = "americano_rows", "americano_learner", "americano_kept"
_LAKE_FILES = "read_parquet($files, hive_partitioning = false)"
# In JSON a number is an id only below a key that means a learner: purge would take every `"score": 7` for learner 7.
_LEARNER_KEYS = frozenset(
    name_key(name) for alias in EVENTS.role("learner").aliases for name in (alias, alias.removesuffix("_id"))
)
_BATCH = 1000


def in_snapshot(
    settings: Settings, path: Path, document: SnapshotRecord, learner: str, protocols: Collection[str] = ()
) -> dict[str, int]:
    """Where a published file names a learner.

    Args:
        settings: memory and the folder to copy to.
        path: the file.
        document: its record.
        learner: the id.
        protocols: those of the learner, whose plans are kept after the source erased them.

    Returns:
        `<table>.<column>` to the number of rows.

    Raises:
        ResourceError: for want of memory or disk.
    """
    with _attached(settings, path) as connection:
        counts: dict[str, int] = {}
        for name, table in document.tables.items():
            relation = sql.quote(_KEPT, "analytics", name)
            columns = [column for column in table.columns if column.name in _columns(connection, relation)]
            counts |= _count(connection, name, relation, columns, table.roles.get("learner"), {}, learner)
        if protocols and document.plans_since is not None:
            row = connection.execute(
                f"SELECT count(*) FROM {_KEPT}.meta.plans WHERE list_contains($1, protocol_id)",  # noqa: S608 - a constant
                [sorted(protocols)],
            ).fetchone()
            counts |= {"meta.plans.protocol_id": row[0]} if row and row[0] else {}
        return counts


def owners_in(settings: Settings, path: Path, document: SnapshotRecord) -> dict[str, set[str]]:
    """Protocol to the ids of those who own it, in a published file; empty where it does not say.

    Args:
        settings: memory and the folder to copy to.
        path: the file.
        document: its record.

    Raises:
        ResourceError: for want of memory or disk.
    """
    table = document.tables.get(PROTOCOLS.name)
    if table is None:
        return {}
    with _attached(settings, path) as connection:
        relation = sql.quote(_KEPT, "analytics", PROTOCOLS.name)
        return _owners(connection, relation, table.roles, {}, _columns(connection, relation))


def owners_in_lake(settings: Settings) -> dict[str, set[str]]:
    """Protocol to the ids of those who own it, in the lake; empty where it does not say.

    Raises:
        LakeDamagedError: its manifest cannot be read.
        ResourceError: for want of memory or disk.
    """
    manifest = lake.read(settings.paths)
    table = manifest.tables.get(PROTOCOLS.name) if manifest is not None else None
    files = _lake_files(settings.paths, table) if table is not None else []
    if table is None or not files:
        return {}
    with connect(settings) as connection:
        columns = {column.name for column in table.columns}
        return _owners(connection, _LAKE_FILES, table.roles, {"files": files}, columns)


def in_lake(settings: Settings, learner: str) -> dict[str, int]:
    """Where the lake names a learner, by its manifest; empty when there is none.

    Returns:
        `<table>.<column>` to the number of rows.

    Raises:
        LakeDamagedError: its manifest cannot be read.
        ResourceError: for want of memory or disk.
    """
    manifest = lake.read(settings.paths)
    counts: dict[str, int] = {}
    if manifest is None:
        return counts
    with connect(settings) as connection:
        for name, table in manifest.tables.items():
            if files := _lake_files(settings.paths, table):
                learners = table.roles.get("learner")
                counts |= _count(
                    connection, name, _LAKE_FILES, table.columns, learners, {"files": files}, learner
                )  # fmt: skip
    return counts


def _lake_files(folder: DataFolder, table: LakeTable) -> list[str]:
    """The files of a table, those that are there: a sync exports the others again."""
    paths = [path for bucket in table.buckets.values() for path in lake.files(folder, bucket)]
    return [sql.literal_path(path) for path in paths if path.exists()]


def _owners(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    roles: Mapping[str, str],
    parameters: Mapping[str, Any],
    columns: Collection[str],
) -> dict[str, set[str]]:
    owners: dict[str, set[str]] = {}
    if not {"id", "learner"} <= roles.keys() or not {roles["id"], roles["learner"]} <= set(columns):
        return owners
    rows = connection.execute(
        f"SELECT DISTINCT {sql.quote(roles['id'])}, {sql.quote(roles['learner'])} FROM {relation}",  # noqa: S608 - quoted
        parameters,
    ).fetchall()
    for protocol_id, owner in rows:
        if protocol_id is not None and owner is not None:
            owners.setdefault(str(protocol_id), set()).add(str(owner))
    return owners


@contextmanager
def _attached(settings: Settings, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session with a published file attached for reading.

    A file that somebody holds read-write is looked into by a copy, so nothing of theirs is disturbed. The copy lies in
    a folder with an owner: where this process is killed, the next purge or sync removes it.
    """
    with ExitStack() as held:
        connection = held.enter_context(connect(settings))
        try:
            _attach(connection, path)
        except duckdb.IOException as error:
            if is_resource_error(error):
                raise
            folder = held.enter_context(temporary_folder(settings.paths.spill, "copy"))
            copy = folder / "copy.duckdb"
            shutil.copyfile(path, copy)
            _attach(connection, copy)
        yield connection


def _columns(connection: duckdb.DuckDBPyConnection, relation: str) -> set[str]:
    return {str(row[0]) for row in connection.execute(f"DESCRIBE {relation}").fetchall()}


def _attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    connection.execute(f"ATTACH '{sql.escape(str(path))}' AS {_KEPT} (READ_ONLY)")


def _count(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    relation: str,
    columns: Sequence[Column],
    learners: str | None,
    parameters: Mapping[str, Any],
    learner: str,
) -> dict[str, int]:
    """Rows that name the learner, by column."""
    equal = {
        column.name: condition
        for column in columns
        if (condition := _id_condition(column, is_learner=column.name == learners))
    }
    matches: dict[str, int] = {}
    if equal:
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in equal.values())
        row = connection.execute(
            f"SELECT {counts} FROM {relation} AS {_ROWS}, (SELECT CAST($learner AS VARCHAR) AS id) AS {_LEARNER}",  # noqa: S608 - quoted
            {"learner": learner, **parameters},
        ).fetchone()
        matches = {name: int(count) for name, count in zip(equal, row or (), strict=True)}
    keys = _LEARNER_KEYS | ({name_key(learners)} if learners else set())
    bound = {"learner": learner.rstrip(" "), "escaped": escaped_pattern(learner), **parameters}
    for column in columns:
        text = _json_text(column)
        if text is not None:
            statement = sql.render(sql.load("erasure", "may_name_learner"), text=text, relation=relation, rows=_ROWS)
            candidates = connection.execute(statement, bound)
            count = 0
            while batch := candidates.fetchmany(_BATCH):
                count += sum(named_in_json(text, learner, keys) for (text,) in batch)
            matches[column.name] = matches.get(column.name, 0) + count
    return {f"{table}.{name}": count for name, count in matches.items() if count}


def _id_condition(column: Column, *, is_learner: bool) -> str | None:
    """SQL that is true for a value which is the learner's id; None for a column that holds no ids."""
    name, learner_id = f"{_ROWS}.{sql.quote(column.name)}", f"{_LEARNER}.id"
    if column.type == "BLOB":
        return (
            f"'\\x' || lower(hex({name})) = lower({learner_id}) OR {name} = encode({learner_id})"
            if is_learner
            else None
        )
    if column.type == "VARCHAR":
        # Padding of char(n) does not arrive here, but people copy it.
        is_uuid = f"TRY_CAST({learner_id} AS UUID) IS NOT NULL"
        return f"{name} IN ({learner_id}, rtrim({learner_id})) OR ({is_uuid} AND lower({name}) = lower({learner_id}))"
    return f"{name} = TRY_CAST({learner_id} AS {column.type})" if column.type == "UUID" or is_learner else None


def _json_text(column: Column) -> str | None:
    """SQL of a column as JSON text, None for one that holds no strings within something."""
    name = f"{_ROWS}.{sql.quote(column.name)}"
    if column.type in {"VARCHAR", "JSON"}:
        return f"CAST({name} AS VARCHAR)"
    return f"CAST(to_json({name}) AS VARCHAR)" if column.is_nested else None
