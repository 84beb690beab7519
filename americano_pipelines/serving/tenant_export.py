"""Write the rows of a tenant or of a protocol into files that may be handed out, with pseudonyms."""

# Texts that people write freely, such as names and plans, are left out. A learner's id is also replaced where it is
# part of an id or a label, if it has six characters or more.

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from americano_pipelines.analysis.pseudonym import pseudonym, pseudonym_for
from americano_pipelines.common import atomic_files, sql
from americano_pipelines.common.duckdb_session import connect_to_read, resource_errors
from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.common.temporary_folders import sweep, temporary_folder
from americano_pipelines.errors import AmericanoError, ConfigError, WarehouseUnavailableError
from americano_pipelines.provenance.export_cards import ExportCard, HandedOutFile, keep_card
from americano_pipelines.serving.learner_tenants import TenantMapping, load_tenants
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines.warehouse.snapshots import current, record_beside
from americano_pipelines.warehouse.table_export import check_place, columns_of, copy_query, write_csv

FORMATS = ("duckdb", "parquet", "csv")
_MIN_CHARACTERS = 6


@dataclass(frozen=True)
class HandedOutTable:
    """A table of an export.

    Attributes:
        name: its name in the export.
        needs: the relation in `research` whose rows they are.
        columns: its columns; `learner_id` becomes the pseudonym.
    """

    name: str
    needs: str
    columns: tuple[str, ...]


TABLES = (
    HandedOutTable(
        "protocols",
        "protocols",
        ("protocol_id", "learner_id", "design", "primary_outcome", "starts_at", "ends_at"),
    ),
    HandedOutTable(
        "phases",
        "phases",
        ("phase_id", "protocol_id", "learner_id", "phase", "phase_type", "starts_at", "ends_at", "planned_days"),
    ),
    HandedOutTable(
        "events",
        "protocol_events",
        ("protocol_id", "event_id", "event_time", "learner_id", "phase", "phase_type", "event_type"),
    ),
    HandedOutTable(
        "daily_outcomes",
        "daily_outcomes",
        ("protocol_id", "learner_id", "outcome", "day", "starts_at", "phase", "condition", "value", "events"),
    ),
    HandedOutTable(
        "verdicts",
        "verdicts",
        (
            *("protocol_id", "status", "verdict", "standing", "effect", "interval_low", "interval_high", "p"),
            *("sentence", "completed_at", "analysis_run_id", "record_sha256"),
        ),
    ),
)
# Of an event, from `research.events`: its outcome, and what else analyses read.
_EVENT_COLUMNS = ("score", "engagement", "completion_quality")


@dataclass(frozen=True)
class TenantExport:
    """An export that was written.

    Attributes:
        card: its record.
        sha256: hash of the record.
    """

    card: ExportCard
    sha256: str


def export_for(
    settings: Settings, path: Path, format_: str, *, tenant: str | None = None, protocol_id: str | None = None
) -> TenantExport:
    """Write what may be handed out of a tenant's learners, or of one protocol, and keep a record of it.

    Args:
        settings: the published file, the tenants and the archive.
        path: the DuckDB file, or the folder of the Parquet or CSV files; files of these names are replaced.
        format_: one of `FORMATS`.
        tenant: whose learners; None for a protocol.
        protocol_id: which protocol; None for a tenant.

    Raises:
        ConfigError: AMERICANO_TENANTS is not set, or cannot be used.
        AmericanoError: there is no such tenant or protocol, or the place is in a folder that this project manages.
        PseudonymKeyError: the key of the pseudonyms is lost.
        WarehouseUnavailableError: nothing is published; ResourceError: there is no room to write.
    """
    path = path.absolute()
    check_place(settings.paths, path)
    mapping = TenantMapping.configured(settings.americano_tenants)
    if tenant is not None and mapping is None:
        raise ConfigError("AMERICANO_TENANTS is not set, so there are no tenants: set it, or name a --protocol")
    published = current(settings.paths)
    if published is None:
        raise WarehouseUnavailableError("nothing is published yet; run `americano sync` first")
    record = record_beside(published)
    with connect_to_read(settings, published) as connection, resource_errors(settings):
        if tenant is not None:
            load_tenants(connection, mapping, record.tables)
        scope = _scope(connection, tenant, protocol_id)
        recipient = f"tenant {tenant}" if tenant is not None else f"protocol {protocol_id}"
        _load_scope(settings, connection, scope, recipient)
        names = _make_tables(connection, record, published.stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with _written(settings.paths, connection, names, path, format_) as files:
            card = ExportCard(
                tenant=tenant,
                protocol_id=protocol_id,
                format=format_,
                tables={name: _count(connection, name) for name in names},
                snapshot_id=record.snapshot_id,
                snapshot_sha256=record.sha256,
                instant=record.instant,
                written_at=datetime.now(UTC),
                files=tuple(
                    HandedOutFile(path=str(target), sha256=file_sha256(aside), bytes=aside.stat().st_size)
                    for aside, target in files.items()
                ),
                protocols=tuple(sorted(scope)),
                learners=tuple(sorted({pseudonym(settings, learner) for learner in scope.values()})),
            )
            # Before the files have their names: a purge must find whatever is there.
            sha256 = keep_card(settings, card)
            for aside, target in files.items():
                _place(aside, target)
    return TenantExport(card, sha256)


def _scope(connection: duckdb.DuckDBPyConnection, tenant: str | None, protocol_id: str | None) -> dict[str, str]:
    """The protocols that may be handed out, each with its learner.

    Raises:
        AmericanoError: there are none.
    """
    columns, condition = "protocol_id, learner_id", "protocol_id = $1"
    if tenant is not None:
        condition = "learner_id IN (SELECT learner_id FROM memory.main.learner_tenants WHERE tenant = $1)"
    query = f"SELECT {columns} FROM research.protocols WHERE learner_id IS NOT NULL AND {condition}"  # noqa: S608 - constants
    try:
        rows = connection.execute(query, [tenant if tenant is not None else protocol_id]).fetchall()
    except duckdb.CatalogException:
        raise AmericanoError("the published file has no protocols, so there is nothing to hand out") from None
    if not rows:
        what = f"tenant {tenant!r} has no published protocol" if tenant is not None else f"no protocol {protocol_id!r}"
        raise AmericanoError(f"{what}: `americano protocols` lists the protocols that are published")
    return {str(protocol): str(learner) for protocol, learner in rows}


def _load_scope(
    settings: Settings, connection: duckdb.DuckDBPyConnection, scope: Mapping[str, str], recipient: str
) -> None:
    """Make `memory.main.handed_out`: protocol, learner and pseudonym."""
    connection.execute(
        "CREATE TABLE memory.main.handed_out (protocol_id VARCHAR, learner_id VARCHAR, pseudonym VARCHAR)"
    )
    pseudonyms = {learner: pseudonym_for(settings, recipient, learner) for learner in {*scope.values()}}
    rows = [(protocol, learner, pseudonyms[learner]) for protocol, learner in scope.items()]
    connection.executemany("INSERT INTO memory.main.handed_out VALUES (?, ?, ?)", rows)


def _make_tables(connection: duckdb.DuckDBPyConnection, record: SnapshotRecord, catalog: str) -> list[str]:
    """Make a view in memory, which must name the file's catalog, for each table of the export; their names."""
    names = []
    for table in TABLES:
        if f"research.{table.needs}" in record.skipped or table.needs not in record.models:
            continue
        types = columns_of(connection, "research", table.needs)
        selected = [text_without_id("entry", name, types[name]) for name in table.columns]
        joined = ""
        if table.name == "events":
            types = columns_of(connection, "research", "events")
            selected += [text_without_id("event", name, types[name]) for name in _EVENT_COLUMNS]
            joined = (
                f"LEFT JOIN {sql.quote(catalog, 'research', 'events')} AS event ON event.event_id = entry.event_id "
                "AND event.learner_id = entry.learner_id AND event.event_time = entry.event_time"
            )
        view = sql.quote("memory", "main", table.name)
        relation = sql.quote(catalog, "research", table.needs)
        connection.execute(
            f"CREATE VIEW {view} AS SELECT {', '.join(selected)} FROM {relation} AS entry "  # noqa: S608 - quoted
            f"JOIN memory.main.handed_out AS member ON member.protocol_id = entry.protocol_id {joined} ORDER BY ALL"
        )
        names.append(table.name)
    return names


def text_without_id(relation: str, name: str, type_name: str) -> str:
    """SQL of a column without the learner's id."""
    column = f"{relation}.{sql.quote(name)}"
    if name == "learner_id":
        return "member.pseudonym AS learner_id"
    if type_name != "VARCHAR":
        return f"{column} AS {sql.quote(name)}"
    # In any letter case, and a UUID without its hyphens too. An id of digits only would occur in other numbers.
    pattern = "'(?i)' || regexp_escape(member.learner_id) || '|' || regexp_escape(replace(member.learner_id, '-', ''))"
    is_distinctive = (
        f"length(member.learner_id) >= {_MIN_CHARACTERS} AND NOT regexp_full_match(member.learner_id, '\\d+')"
    )
    is_mentioned = f"contains(replace(lower({column}), '-', ''), replace(lower(member.learner_id), '-', ''))"
    replaced = f"regexp_replace({column}, {pattern}, member.pseudonym, 'g')"
    return f"CASE WHEN {is_distinctive} AND {is_mentioned} THEN {replaced} ELSE {column} END AS {sql.quote(name)}"


@contextmanager
def _written(
    paths: DataFolder, connection: duckdb.DuckDBPyConnection, names: Sequence[str], path: Path, format_: str
) -> Iterator[dict[Path, Path]]:
    """Write the tables aside for the block: each file, and the path that it is to have.

    They are written in the data folder, where the next sync removes what a killed export leaves.
    """
    with temporary_folder(paths.root, "export") as folder:
        if format_ == "duckdb":
            aside = folder / path.name
            connection.execute(f"ATTACH '{sql.escape(str(aside))}' AS handed_out")
            for name in names:
                source, target = sql.quote("memory", "main", name), sql.quote("handed_out", "main", name)
                connection.execute(f"CREATE TABLE {target} AS FROM {source}")
            connection.execute("DETACH handed_out")
            yield {aside: path}
            return
        files = {}
        for name in names:
            aside, relation = folder / f"{name}.{format_}", sql.quote("memory", "main", name)
            if format_ == "csv":
                write_csv(connection, relation, columns_of(connection, "memory", "main", name), aside)
            else:
                copy_query(connection, f"FROM {relation}", aside, "FORMAT parquet, COMPRESSION zstd")
            files[aside] = path / aside.name
        yield files


def _place(aside: Path, target: Path) -> None:
    """Give a finished file its path, which may be on another file system."""
    try:
        atomic_files.move(aside, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_files.atomic_write_path(target) as beside:
            shutil.copyfile(aside, beside)


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    (rows,) = connection.execute(f"SELECT count(*) FROM {sql.quote('memory', 'main', name)}").fetchone() or (0,)  # noqa: S608 - quoted
    return int(rows)
