"""Check each thing that the configured mode needs, and report one finding for each."""

# Repair nothing and print nothing. What is tried by writing leaves nothing behind.

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from americano_pipelines.analysis.pseudonym import key_state
from americano_pipelines.common import atomic_files, sql
from americano_pipelines.common.duckdb_session import check_extension, connect, load_postgres_extension
from americano_pipelines.common.file_permissions import open_to_others
from americano_pipelines.errors import (
    AmericanoError,
    SourceError,
    UnreadableRecordError,
    WarehouseUnavailableError,
    describe_os_error,
)
from americano_pipelines.settings import Mode, Settings, unknown_variables
from americano_pipelines.settings.mlflow_url import sqlite_file
from americano_pipelines.sources.column_roles import Column, SourceTable, check_overrides
from americano_pipelines.sources.parquet_files import find_files
from americano_pipelines.sources.postgres_catalog import PostgresTable, find_tables
from americano_pipelines.sources.postgres_snapshot import Snapshot, open_snapshot
from americano_pipelines.sources.unreadable_values import WITHOUT_ENCODING, server_encoding, undecodable_values
from americano_pipelines.warehouse.id_consistency import unlike_types
from americano_pipelines.warehouse.snapshots import current, open_published, read_record

Level = Literal["ok", "warn", "FAIL"]

_LINK_NEEDS = ("SELECT", "INSERT", "UPDATE")


@dataclass(frozen=True)
class Diagnosis:
    """One line: `FAIL` when the chosen mode cannot work because of it."""

    level: Level
    what: str
    detail: str


def examine(settings: Settings) -> list[Diagnosis]:
    """Look at everything, in the order in which a sync would need it."""
    examinations: list[Callable[[Settings], Iterator[Diagnosis]]] = [_mode, _data_folder, _extension]
    examinations.append(_files if settings.mode is Mode.PARQUET else _postgres)
    examinations += [_published, _pseudonym_key, _dagster_home, _mlflow, _app]
    findings: list[Diagnosis] = []
    for examination in examinations:
        try:
            findings.extend(examination(settings))
        except (AmericanoError, OSError) as error:
            words = describe_os_error(error) if isinstance(error, OSError) else str(error)
            findings.append(Diagnosis("FAIL", examination.__name__.strip("_").replace("_", " "), words))
    return findings


def _mode(settings: Settings) -> Iterator[Diagnosis]:
    check_overrides(settings.americano_columns)
    yield Diagnosis("ok", "mode", settings.mode.value)
    for name in unknown_variables():
        yield Diagnosis("warn", name, "is no setting of this project, and has no effect")
    if settings.compare_with_postgres and settings.postgres is None:
        yield Diagnosis("warn", "COMPARE_WITH_POSTGRES", "is true, but no Postgres is configured to compare with")


def _data_folder(settings: Settings) -> Iterator[Diagnosis]:
    atomic_files.try_writing(settings.paths.root)
    yield Diagnosis("ok", "data folder", str(settings.paths.root))
    atomic_files.try_writing(settings.paths.published.parent)
    if exposed := open_to_others(settings):
        names = ", ".join(map(str, exposed))
        yield Diagnosis(
            "warn",
            "file modes",
            f"other users of this machine can read {names}: close them with `chmod go-rwx`. A folder that holds files "
            "of other programs is left as it is: set AMERICANO_DATA_DIR to a folder of its own",
        )


def _extension(settings: Settings) -> Iterator[Diagnosis]:
    with connect(settings) as connection:
        load_postgres_extension(connection)
    yield Diagnosis("ok", "DuckDB and its Postgres extension", check_extension().parent.name)


def _files(settings: Settings) -> Iterator[Diagnosis]:
    with connect(settings) as connection:
        tables, skipped = find_files(connection, settings)

        def has_values(name: str, column: Column) -> bool:
            table = tables[name]
            statement = f"SELECT 1 FROM {table.relation} WHERE {sql.quote(column.name)} IS NOT NULL LIMIT 1"  # noqa: S608 - quoted
            return connection.execute(statement, table.parameters).fetchone() is not None

        yield from _ids(tables, has_values)
    for name, table in tables.items():
        size = sum(file.size for file in table.files)
        yield Diagnosis("ok", name, f"{len(table.files)} Parquet files, {size:,} bytes, {table.found_as}")
    for name, reason in skipped.items():
        yield Diagnosis("warn", name, reason)
    if not tables:
        yield Diagnosis("FAIL", "parquet mode", "none of the four tables has a file")


def _postgres(settings: Settings) -> Iterator[Diagnosis]:
    target = settings.postgres
    if target is None:
        return
    with connect(settings) as connection, open_snapshot(connection, target) as snapshot:
        identity = snapshot.identity
        yield Diagnosis("ok", "Postgres", f"{identity['server_version']} at {target.label}")
        past = "may read past row-level security" if identity["bypasses_rls"] else "is subject to row-level security"
        yield Diagnosis("ok" if identity["bypasses_rls"] else "warn", "role", f"{target.user} {past}")
        tables, skipped = find_tables(snapshot, settings, hold=False)
        for name, reason in skipped.items():
            yield Diagnosis("warn", name, reason)
    readable: dict[str, PostgresTable] = {}
    for name, table in tables.items():
        # One snapshot each: a statement that policies refuse ends the transaction it is in.
        with connect(settings) as connection:
            security = "row-level security on" if table.row_security else "no row-level security"
            try:
                with open_snapshot(connection, target) as snapshot:
                    _read_one(snapshot, table)
                readable[name] = table
                yield Diagnosis("ok", name, f"{table.found_as}, {security}, readable")
            except SourceError as error:
                yield Diagnosis("FAIL", name, f"{table.found_as}, {security}: {error}")

    with connect(settings) as connection, open_snapshot(connection, target) as snapshot:

        def has_values(name: str, column: Column) -> bool:
            table = readable[name]
            relation = sql.quote(table.schema, table.relation)
            statement = f"SELECT 1 AS one FROM {relation} WHERE {sql.quote(column.name)} IS NOT NULL LIMIT 1"  # noqa: S608 - quoted
            return bool(snapshot.query(statement, table.found_as))

        yield from _ids(readable, has_values)


def _ids(tables: Mapping[str, SourceTable], has_values: Callable[[str, Column], bool]) -> Iterator[Diagnosis]:
    """What a sync refuses for its types, after all rows were read."""
    for words in unlike_types(tables, has_values):
        yield Diagnosis("FAIL", "ids", words)


def _read_one(snapshot: Snapshot, table: PostgresTable) -> None:
    relation = sql.quote(table.schema, table.relation)
    snapshot.query(f"SELECT 1 AS one FROM {relation} LIMIT 1", table.found_as)  # noqa: S608 - quoted
    if server_encoding(snapshot) == "SQL_ASCII" and (counts := undecodable_values(snapshot, table)):
        columns = ", ".join(f"{name!r} in {count:,} rows" for name, count in counts.items())
        raise SourceError(f"bytes that are no UTF-8 in {columns}. {WITHOUT_ENCODING}")


def _published(settings: Settings) -> Iterator[Diagnosis]:
    link = settings.paths.published
    if link.exists() and not link.is_symlink():
        yield Diagnosis(
            "FAIL",
            "published file",
            f"{link} is a file of its own, not the link this project publishes by; move it away",
        )
        return
    try:
        document, path = read_record(settings.paths), current(settings.paths)
    except UnreadableRecordError as error:
        yield Diagnosis("warn", "published file", str(error))
        return
    if document is None or path is None:
        yield Diagnosis("warn", "published file", f"nothing at {settings.paths.published} yet; run `americano sync`")
        return
    try:
        with open_published(settings, wait_seconds=0):
            yield Diagnosis("ok", "published file", f"{document.snapshot_id}, source as of {document.instant}, {path}")
    except WarehouseUnavailableError as error:
        # The next sync publishes another one, and is not stopped by this.
        yield Diagnosis("warn", "published file", str(error))


def _dagster_home(settings: Settings) -> Iterator[Diagnosis]:
    from americano_pipelines.defs.dagster_instance import open_instance_to_read, try_writing

    with open_instance_to_read(settings) as instance:
        try_writing(settings)
        if instance is None:
            yield Diagnosis("ok", "Dagster home", f"{settings.paths.dagster_home}, which the first run installs")
            return
        yield Diagnosis("ok", "Dagster home", f"{settings.paths.dagster_home}, {instance.get_runs_count()} runs")


def _pseudonym_key(settings: Settings) -> Iterator[Diagnosis]:
    yield Diagnosis("ok", "pseudonym key", key_state(settings.paths))


def _mlflow(settings: Settings) -> Iterator[Diagnosis]:
    """A sync needs no MLflow, so what is wrong with it is a warning; an analysis would fail because of it."""
    from americano_pipelines.mlflow_store.client import has_tables, open_store_to_read, try_writing

    file = sqlite_file(settings.tracking_uri)
    if file is not None and not has_tables(file):
        # They take long to make. The first analysis does so, if a file can be put there.
        try:
            atomic_files.try_writing(file.resolve().parent)
        except OSError as error:
            yield Diagnosis("warn", "MLflow", describe_os_error(error))
        else:
            yield Diagnosis(
                "ok", "MLflow", f"no analysis is recorded yet; the first one creates the local store {file}"
            )
        return
    try:
        store = open_store_to_read(settings)
        try_writing(store)
    except AmericanoError as error:
        yield Diagnosis("warn", "MLflow", str(error))
    else:
        where = f"the server {store.label} answers" if file is None else f"local store {file}"
        yield Diagnosis("ok", "MLflow", f"{where}; it can be written to")


def _app(settings: Settings) -> Iterator[Diagnosis]:
    from sqlalchemy import and_, func, select

    from americano_pipelines.app_database.connection import connected

    if settings.app is None:
        return
    try:
        with connected(settings.app) as (connection, table):
            name = sql.quote(settings.app.schema, table.name)
            needs = [func.has_any_column_privilege(name, privilege) for privilege in _LINK_NEEDS]
            allowed = connection.scalar(select(and_(*needs)))
    except AmericanoError as error:
        yield Diagnosis("warn", "the app's analysis runs", str(error))
    else:
        said = (
            f"{settings.app.user} may read and write {name}"
            if allowed
            else (f"{settings.app.user} may not read, insert and update {name}; run deploy/link_role.sql")
        )
        yield Diagnosis("ok" if allowed else "warn", "the app's analysis runs", said)
