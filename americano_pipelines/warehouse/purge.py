"""Erasing a learner from the snapshots that are kept, once the source has erased them.

Here belongs finding which files still hold a learner's rows, or may, and removing those. The published file and
the lake follow the source and are only looked at: what the source still has would be back with the next sync.

A kept file goes as a whole. Its hash stands in the records of analyses, and a rewritten file would have another;
a card in `snapshots/purged/` says that it was purged, so that nobody takes it for lost or merely expired. Files
that were patched go too, whatever their tables show: DuckDB leaves a deleted row's bytes where they were.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from pydantic import ValidationError

from americano_pipelines import durable, sql
from americano_pipelines.engine import connect, session
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.tables import Column
from americano_pipelines.warehouse import publish
from americano_pipelines.warehouse.document import SIDECAR, Document

PURGED = "purged"
# Aliases that no column has.
_ROWS, _LEARNER = "americano_rows", "americano_learner"
# Types of values that cannot be a learner's id.
_NO_IDS = ("TIMESTAMP", "DATE", "TIME", "BOOLEAN", "FLOAT", "DOUBLE", "BLOB")


@dataclass(frozen=True)
class Condemned:
    """A kept file that has to go.

    Attributes:
        what: the snapshot's id, or the lake of a way in that is not used any more.
        path: its folder.
        reason: why, for people; never the learner's id.
        bytes: its size.
    """

    what: str
    path: Path
    reason: str
    bytes: int


def still_there(settings: Settings, learner: str) -> dict[str, int]:
    """Where the published file and the lake in use still have a learner.

    Args:
        settings: where they lie.
        learner: the learner's id, as the source writes it.

    Returns:
        `<table>.<column>` to the number of rows; empty when there is nothing.
    """
    now, document = publish.current(settings), publish.read_document(settings)
    found = _in_snapshot(now, document, learner) if now is not None and document is not None else {}
    if settings.mode is Mode.POSTGRES:
        found |= {f"lake: {place}": rows for place, rows in _in_lake(settings, learner).items()}
    return found


def condemned(settings: Settings, learner: str) -> list[Condemned]:
    """The kept files that hold a learner, or may: of this published name, and the lake if it is not in use.

    Args:
        settings: where they lie.
        learner: the learner's id, as the source writes it.
    """
    now = publish.current(settings)
    found = []
    for folder in publish.snapshots(settings):
        if now is not None and folder.samefile(now.parent):
            continue
        reason = _why(folder, publish.file_name(settings), learner)
        if reason is not None:
            found.append(Condemned(folder.name, folder, reason, _size(folder)))
    # Nothing keeps the lake up to date in another mode.
    if settings.mode is not Mode.POSTGRES and lake.is_there(settings):
        reason = "its manifest cannot be read" if lake.read(settings) is None else _told(_in_lake(settings, learner))
        if reason:
            found.append(Condemned("lake", settings.lake_dir, reason, _size(settings.lake_dir)))
    return found


def remove(settings: Settings, one: Condemned) -> None:
    """Remove a condemned file for good. The caller holds the writer lock.

    A process that has it open keeps its bytes on the disk until it ends.
    """
    if one.path.parent == publish.snapshots_dir(settings):
        card = {"snapshot_id": one.what, "reason": one.reason, "purged_at": datetime.now(UTC).isoformat()}
        folder = publish.snapshots_dir(settings) / PURGED
        folder.mkdir(exist_ok=True)
        durable.write_text(folder / f"{one.what}.json", json.dumps(card, indent=1))
    durable.remove(one.path)


def _why(folder: Path, name: str, learner: str) -> str | None:
    """Why a kept snapshot has to go, None when it may stay."""
    try:
        document = Document.model_validate_json((folder / SIDECAR).read_text(encoding="utf-8"))
    except ValidationError:
        return "its record is of another version, so what it holds is not known"
    try:
        found = _in_snapshot(folder / name, document, learner)
    except duckdb.Error as error:
        return f"cannot be looked into ({type(error).__name__})"
    if found:
        return _told(found)
    if document.built.startswith("patch"):
        return "was patched, and what was deleted before may still be in the file"
    return None


def _told(found: Mapping[str, int]) -> str:
    return (
        f"holds rows of the learner: {', '.join(f'{place} {rows:,}' for place, rows in found.items())}" if found else ""
    )


def _in_snapshot(path: Path, document: Document, learner: str) -> dict[str, int]:
    with session(duckdb.connect(str(path), read_only=True)) as connection:
        relations = {name: (sql.quote("analytics", name), table.columns) for name, table in document.tables.items()}
        return dict(_holding(connection, relations, [], learner))


def _in_lake(settings: Settings, learner: str) -> dict[str, int]:
    manifest = lake.read(settings)
    if manifest is None:
        return {}
    found: dict[str, int] = {}
    with connect(settings) as connection:
        for name, table in manifest.tables.items():
            files = [
                sql.literal_path(path) for bucket in table.buckets.values() for path in lake.paths(settings, bucket)
            ]
            if files:
                relation = "read_parquet($3, hive_partitioning = false)"
                found |= _holding(connection, {name: (relation, table.columns)}, [files], learner)
    return found


def _holding(
    connection: duckdb.DuckDBPyConnection,
    relations: Mapping[str, tuple[str, Sequence[Column]]],
    parameters: list[Any],
    learner: str,
) -> Iterator[tuple[str, int]]:
    """Columns that name the learner: as the value, in a list, or as a string anywhere in JSON."""
    for name, (relation, columns) in relations.items():
        searched = [column for column in columns if not column.type.startswith(_NO_IDS)]
        counts = ", ".join(f"count(*) FILTER (WHERE {_names(column)})" for column in searched)
        row = connection.execute(
            f"SELECT {counts} FROM {relation} AS {_ROWS}, (SELECT $1 AS id, $2 AS in_json) AS {_LEARNER}",  # noqa: S608 - quoted
            [learner, json.dumps(learner, ensure_ascii=False), *parameters],
        ).fetchone()
        for column, count in zip(searched, row or (), strict=True):
            if count:
                yield f"{name}.{column.name}", int(count)


def _names(column: Column) -> str:
    quoted = f"{_ROWS}.{sql.quote(column.name)}"
    if column.type.startswith("JSON"):
        return f"contains(CAST({quoted} AS VARCHAR), {_LEARNER}.in_json)"
    if column.type.endswith("[]"):
        return f"list_contains(CAST({quoted} AS VARCHAR[]), {_LEARNER}.id)"
    return f"CAST({quoted} AS VARCHAR) = {_LEARNER}.id"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
