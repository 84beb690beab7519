"""What `americano doctor` looks at: each thing the chosen mode needs, opened by the code that the work opens it by.

Only looking belongs here, no mending and no printing. What is tried by writing leaves nothing behind but a tag of
MLflow's experiment and a time in Dagster's records. Each finding is one line.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from americano_pipelines import durable, sql
from americano_pipelines.access import open_to_others
from americano_pipelines.analysis.pseudonym import key_state
from americano_pipelines.engine import check_extension, connect, load_postgres_extension
from americano_pipelines.errors import AmericanoError, SourceError, WarehouseUnavailableError, told_by_system
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.settings.tracking_address import sqlite_file
from americano_pipelines.sources.catalog import find_tables
from americano_pipelines.sources.files import find_files
from americano_pipelines.sources.postgres import Snapshot, open_snapshot
from americano_pipelines.sources.tables import check_overrides
from americano_pipelines.warehouse.publish import current, read_document
from americano_pipelines.warehouse.read import open_published

Level = Literal["ok", "warn", "FAIL"]

_LINK_NEEDS = ("SELECT", "INSERT", "UPDATE")


@dataclass(frozen=True)
class Finding:
    """One line: `FAIL` when the chosen mode cannot work because of it."""

    level: Level
    what: str
    found: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything, in the order in which a sync would need it."""
    looks: list[Callable[[Settings], Iterator[Finding]]] = [_mode, _data_folder, _extension]
    looks.append(_files if settings.mode is Mode.PARQUET else _postgres)
    looks += [_published, _pseudonym_key, _dagster_home, _mlflow, _app]
    findings: list[Finding] = []
    for look in looks:
        try:
            findings.extend(look(settings))
        except (AmericanoError, OSError) as error:
            words = told_by_system(error) if isinstance(error, OSError) else str(error)
            findings.append(Finding("FAIL", look.__name__.strip("_").replace("_", " "), words))
    return findings


def _mode(settings: Settings) -> Iterator[Finding]:
    check_overrides(settings.americano_columns)
    yield Finding("ok", "mode", settings.mode.value)
    if settings.compare_with_postgres and settings.postgres is None:
        yield Finding("warn", "COMPARE_WITH_POSTGRES", "is true, but no Postgres is configured to compare with")


def _data_folder(settings: Settings) -> Iterator[Finding]:
    durable.try_writing(settings.data_dir)
    yield Finding("ok", "data folder", str(settings.data_dir))
    durable.try_writing(settings.published_path.parent)
    if exposed := open_to_others(settings):
        names = ", ".join(map(str, exposed))
        yield Finding("warn", "file modes", f"open to other users of this machine: {names}; their owner may chmod them")


def _extension(settings: Settings) -> Iterator[Finding]:
    with connect(settings) as connection:
        load_postgres_extension(connection)
    yield Finding("ok", "DuckDB and its Postgres extension", check_extension().parent.name)


def _files(settings: Settings) -> Iterator[Finding]:
    with connect(settings) as connection:
        found, skipped = find_files(connection, settings)
    for name, table in found.items():
        size = sum(file.size for file in table.files)
        yield Finding("ok", name, f"{len(table.files)} Parquet files, {size:,} bytes, {table.found_as}")
    for name, reason in skipped.items():
        yield Finding("warn", name, reason)
    if not found:
        yield Finding("FAIL", "parquet mode", "none of the four tables has a file")


def _postgres(settings: Settings) -> Iterator[Finding]:
    target = settings.postgres
    if target is None:
        return
    with connect(settings) as connection, open_snapshot(connection, target) as snapshot:
        identity = snapshot.identity
        yield Finding("ok", "Postgres", f"{identity['server_version']} at {target.label}")
        past = "may read past row-level security" if identity["bypasses_rls"] else "is subject to row-level security"
        yield Finding("ok" if identity["bypasses_rls"] else "warn", "role", f"{target.user} {past}")
        found, skipped = find_tables(snapshot, settings, hold=False)
        for name, reason in skipped.items():
            yield Finding("warn", name, reason)
    for name, table in found.items():
        # One snapshot each: a statement that policies refuse ends the transaction it is in.
        with connect(settings) as connection:
            security = "row-level security on" if table.row_security else "no row-level security"
            try:
                with open_snapshot(connection, target) as snapshot:
                    _read_one(snapshot, table.schema, table.relation)
                yield Finding("ok", name, f"{table.found_as}, {security}, readable")
            except SourceError as error:
                yield Finding("FAIL", name, f"{table.found_as}, {security}: {error}")


def _read_one(snapshot: Snapshot, schema: str, relation: str) -> None:
    snapshot.query(f"SELECT 1 AS one FROM {sql.quote(schema, relation)} LIMIT 1")  # noqa: S608 - quoted


def _published(settings: Settings) -> Iterator[Finding]:
    link = settings.published_path
    if link.exists() and not link.is_symlink():
        yield Finding(
            "FAIL",
            "published file",
            f"{link} is a file of its own, not the link this project publishes by; move it away",
        )
        return
    document, path = read_document(settings), current(settings)
    if document is None or path is None:
        yield Finding("warn", "published file", f"nothing at {settings.published_path} yet; run `americano sync`")
        return
    try:
        with open_published(settings, wait_seconds=0):
            yield Finding("ok", "published file", f"{document.snapshot_id}, source as of {document.instant}, {path}")
    except WarehouseUnavailableError as error:
        # The next sync publishes another one, and is not stopped by this.
        yield Finding("warn", "published file", str(error))


def _dagster_home(settings: Settings) -> Iterator[Finding]:
    from americano_pipelines.defs.instance import reach_instance, try_writing

    with reach_instance(settings) as instance:
        try_writing(settings, instance)
        yield Finding("ok", "Dagster home", f"{settings.dagster_dir}, {instance.get_runs_count()} runs")


def _pseudonym_key(settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", "pseudonym key", key_state(settings))


def _mlflow(settings: Settings) -> Iterator[Finding]:
    """A sync needs no MLflow, so what is wrong with it is a warning; an analysis would fail of it."""
    from americano_pipelines.tracking.store import open_store, try_writing

    file = sqlite_file(settings.tracking_uri)
    if file is not None and not file.exists():
        # Its tables take long to make. The first analysis does so, if a file can be put there.
        try:
            durable.try_writing(file.parent)
        except OSError as error:
            yield Finding("warn", "MLflow", told_by_system(error))
        else:
            yield Finding("ok", "MLflow", f"a local store (sqlite) at {file}, which the first analysis makes")
        return
    try:
        store = open_store(settings)
        try_writing(store)
    except AmericanoError as error:
        yield Finding("warn", "MLflow", str(error))
    else:
        where = f"{store.label} answers" if file is None else f"a local store (sqlite) at {file}"
        yield Finding("ok", "MLflow", f"{where}, and takes what is recorded there")


def _app(settings: Settings) -> Iterator[Finding]:
    from americano_pipelines.tracking.app_connection import connected

    if settings.app is None:
        return
    try:
        with connected(settings.app) as (cursor, table):
            name = sql.quote(table.schema, table.name)
            cursor.execute(
                "SELECT " + " AND ".join(f"has_any_column_privilege(%s, '{p}')" for p in _LINK_NEEDS), (name,) * 3
            )
            allowed = cursor.fetchone()[0]
    except AmericanoError as error:
        yield Finding("warn", "the app's analysis runs", str(error))
    else:
        said = (
            f"{settings.app.user} may read and write {name}"
            if allowed
            else (f"{settings.app.user} may not read, insert and update {name}; run deploy/link_role.sql")
        )
        yield Finding("ok" if allowed else "warn", "the app's analysis runs", said)
