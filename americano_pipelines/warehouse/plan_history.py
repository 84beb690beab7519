"""Keep since when each protocol has had each plan, from sync to sync, in `meta.plans` of the published file."""

# The source has no history of its rows, so this and the records of earlier analyses are the only evidence that a plan
# existed before the end. A plan that is taken up again after another replaced it gets a row of its own: when it was
# replaced is known only to the sync, so its return may be a choice that knows the data. Rows of a protocol that the
# source no longer has are carried on: its table may be missing or empty in one sync. A purge drops them.

import json
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect_to_read
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import canonical_json, decode_json_text, sha256_hex
from americano_pipelines.common.temporary_folders import (
    has_owner,
    reader_temporary_folder,
    temporary_folder,
    temporary_folders,
)
from americano_pipelines.errors import UnreadableRecordError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.column_roles import name_key
from americano_pipelines.sources.contracts import PHASES, PROTOCOLS
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.comments import comment_on
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

# What a protocol declares, as far as its table has a column for it. What is not stated is no part of a plan, so a new
# column changes none.
_DECLARED = ("primary_outcome", "design", "improvement", "time_zone")
_UPDATED = name_key("updatedAt")
_CARRIED, _PURGES = "carried.json", re.compile(r"\.tmp-purge-[0-9a-f]{16}")
_COLUMNS = {
    "protocol_id": "The protocol.",
    "plan_sha256": "Hash of what it declares, and of type, planned days and parameters of its phases.",
    "first_seen_snapshot": "The first snapshot that had this plan; of one that was taken up again, since then.",
    "first_seen_at": "The instant of the source in that snapshot, ISO 8601.",
    "source_updated_at": "When the source says that protocol or phases were last changed, at first sight; null unless "
    "each of their rows says so by a time that can be true.",
    "is_current": "Whether this snapshot has this plan; false for an earlier plan, and of a protocol that is gone.",
    "group_key": "The group of protocols that the plan declares; null without one, and in plans of earlier releases.",
    "ended_at": "The instant of the first snapshot that no longer had the plan, ISO 8601; null while it is current.",
}


class PlanSighting(FrozenModel):
    """Since when a protocol has its plan.

    Attributes:
        plan_sha256: hash of the plan.
        first_seen_snapshot: the first snapshot that had it, and since which no other plan was seen.
        first_seen_at: the instant of the source in that snapshot, ISO 8601.
        source_updated_at: when the source said at that time that protocol or phases were last changed, ISO 8601; None
            unless each of their rows said so by a time between 2000 and that instant, in a column of times.
        watched_since: the instant of the first snapshot that kept plans, ISO 8601.
        returned: whether the same plan had been seen before, and another replaced it. Older records lack it.
    """

    plan_sha256: str
    first_seen_snapshot: str
    first_seen_at: str
    source_updated_at: str | None
    watched_since: str
    returned: bool = False

    @property
    def event(self) -> str:
        """What was seen, as a participle."""
        return "taken up again" if self.returned else "first seen"


@dataclass(frozen=True)
class PlanRow:
    """A row of `meta.plans`; see there."""

    protocol_id: str
    plan_sha256: str
    first_seen_snapshot: str
    first_seen_at: str
    source_updated_at: str | None
    is_current: bool
    group_key: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True)
class PlanHistory:
    """What earlier snapshots saw.

    Attributes:
        since: the instant of the first snapshot that kept plans, None before there is one.
        plans: all plans that were seen.
        carried: protocols whose plans are carried on although the source has them no more; None for all.
    """

    since: str | None = None
    plans: tuple[PlanRow, ...] = ()
    carried: frozenset[str] | None = None


def earlier_history(settings: Settings) -> PlanHistory:
    """The history in the newest published file that is unmodified; empty without one."""
    published = snapshots.current(settings.paths)
    folders = [folder / snapshots.file_name(settings.paths) for folder in reversed(snapshots.snapshots(settings.paths))]
    for path in dict.fromkeys([published, *folders] if published is not None else folders):
        try:
            document = snapshots.record_beside(path)
        except UnreadableRecordError:
            continue
        if document.plans_since is not None and snapshots.as_published(path, document):
            with _opened(settings, path) as connection:
                rows = connection.execute("FROM meta.plans").fetchall()
            plans = tuple(PlanRow(*row) for row in rows)
            return PlanHistory(document.plans_since, plans, _carried_in_purge(settings.paths.spill))
    return PlanHistory()


@contextmanager
def dropping_plans(spill_dir: Path, *, others: Collection[str]) -> Iterator[None]:
    """Let the syncs within drop the plans of protocols that the source no longer has.

    Args:
        spill_dir: the folder of temporary files, where the syncs look.
        others: protocols of other learners than the one who is purged; their plans are carried on.
    """
    with temporary_folder(spill_dir, "purge") as folder:
        (folder / _CARRIED).write_text(json.dumps(sorted(others)))
        yield


def _carried_in_purge(spill_dir: Path) -> frozenset[str] | None:
    folders = [folder for folder in temporary_folders(spill_dir, _PURGES) if has_owner(folder)]
    cards = [folder / _CARRIED for folder in folders if (folder / _CARRIED).exists()]
    return frozenset.intersection(*(frozenset(json.loads(card.read_bytes())) for card in cards)) if cards else None


def write_history(connection: duckdb.DuckDBPyConnection, history: PlanHistory, document: SnapshotRecord) -> str:
    """Write `meta.plans` into a file that is being built.

    Args:
        connection: the file.
        history: what earlier snapshots saw.
        document: its record.

    Returns:
        The instant of the first snapshot that kept plans.
    """
    has_plans = {"protocols", "phases"} <= document.models.keys()
    present, groups = _present_plans(connection, document) if has_plans else ({}, {})
    updated = _updated(connection, document)
    present_snapshot = (document.snapshot_id, document.instant)
    plans = [
        plan
        for plan in history.plans
        if history.carried is None or plan.protocol_id in present or plan.protocol_id in history.carried
    ]
    last = {plan.protocol_id: plan for plan in sorted(plans, key=_age)}
    for protocol_id, plan_sha256 in present.items():
        if protocol_id not in last or last[protocol_id].plan_sha256 != plan_sha256:
            row = PlanRow(protocol_id, plan_sha256, *present_snapshot, updated.get(protocol_id), is_current=True)
            last[protocol_id] = row
            plans.append(row)
    rows = []
    for plan in sorted(plans, key=lambda plan: (plan.protocol_id, _age(plan))):
        if plan.protocol_id in present and plan is last[plan.protocol_id]:
            own = replace(plan, is_current=True, group_key=groups.get(plan.protocol_id), ended_at=None)
        else:
            own = replace(plan, is_current=False, ended_at=plan.ended_at or document.instant)
        rows.append(astuple(own))
    connection.execute(sql.load("warehouse", "create_plans"))
    if rows:
        connection.executemany("INSERT INTO meta.plans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    comment_on(connection, "TABLE", ("meta", "plans"), "When each plan of a protocol was first seen.", _COLUMNS)
    return history.since or document.instant


def _age(plan: PlanRow) -> tuple[datetime, bool, str]:
    """Order of the plans of a protocol; the instants of external files may be equal."""
    return datetime.fromisoformat(plan.first_seen_at), plan.is_current, plan.first_seen_snapshot


def read_sighting(
    connection: duckdb.DuckDBPyConnection, document: SnapshotRecord, protocol_id: str
) -> PlanSighting | None:
    """Since when a protocol has its present plan; None in a file from before plans were kept.

    Args:
        connection: the published file, open for reading.
        document: its record.
        protocol_id: the protocol.
    """
    if document.plans_since is None:
        return None
    rows = connection.execute("FROM meta.plans WHERE protocol_id = $1", [protocol_id]).fetchall()
    plans = [PlanRow(*row) for row in rows]
    present = next((plan for plan in plans if plan.is_current), None)
    if present is None:
        return None
    return PlanSighting(
        plan_sha256=present.plan_sha256,
        first_seen_snapshot=present.first_seen_snapshot,
        first_seen_at=present.first_seen_at,
        source_updated_at=present.source_updated_at,
        watched_since=document.plans_since,
        returned=sum(plan.plan_sha256 == present.plan_sha256 for plan in plans) > 1,
    )


def declared_group(parameters: object) -> str | None:
    """The group's key without spaces around it, None where none is declared.

    Args:
        parameters: what the phase records, as JSON, or as text of JSON.
    """
    recorded = decode_json_text(parameters)
    plan = decode_json_text(recorded.get("analysis")) if isinstance(recorded, dict) else None
    key = plan.get("group") if isinstance(plan, dict) else None
    return key.strip() or None if isinstance(key, str) else None


def former_members(connection: duckdb.DuckDBPyConnection, document: SnapshotRecord, group: str) -> dict[str, str]:
    """The ids of the protocols that a group had and has no more, with the instant of the first snapshot without it.

    Args:
        connection: the published file, open for reading.
        document: its record.
        group: the group's key.

    Returns:
        Protocol's id to an instant, ISO 8601; empty in a file from before groups were kept.
    """
    if document.plans_since is None:
        return {}
    columns = [row[0] for row in connection.execute("DESCRIBE meta.plans").fetchall()]
    if "group_key" not in columns:
        return {}
    return dict(connection.execute(sql.load("warehouse", "former_members"), {"group": group}).fetchall())


@contextmanager
def _opened(settings: Settings, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A published file, or a copy of it where a process holds it read-write."""
    with ExitStack() as sessions:
        try:
            connection = sessions.enter_context(connect_to_read(settings, path))
        except duckdb.IOException:
            folder = sessions.enter_context(reader_temporary_folder(settings.paths.spill, "plans"))
            copy = shutil.copyfile(path, folder / path.name)
            connection = sessions.enter_context(connect_to_read(settings, copy))
        yield connection


def _present_plans(
    connection: duckdb.DuckDBPyConnection, document: SnapshotRecord
) -> tuple[dict[str, str], dict[str, str]]:
    """Protocol to the hash of its plan, and to the group that it declares."""
    columns = [name for name in _DECLARED if name in document.models["protocols"].columns]
    # A list of texts, for the columns may be of any type.
    declared = f"[{', '.join(f'CAST(protocols.{sql.quote(name)} AS VARCHAR)' for name in columns)}]"
    statement = sql.render(sql.load("warehouse", "plans"), declared=declared)
    plans: dict[str, dict[str, Any]] = {}
    groups: dict[str, str] = {}
    for protocol_id, values, kind, days, parameters in connection.execute(statement).fetchall():
        stated = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
        plan = plans.setdefault(protocol_id, {**stated, "phases": []})
        plan["phases"].append({"type": kind, "planned_days": days, **_recorded(parameters)})
        if group := declared_group(parameters):
            groups.setdefault(protocol_id, group)
    hashes = {protocol_id: sha256_hex(canonical_json(plan, allow_nan=True)) for protocol_id, plan in plans.items()}
    return hashes, groups


def _recorded(parameters: str | None) -> dict[str, Any]:
    """Everything that a phase records: plan, drawing, time zone, and any word for which way is better."""
    values = json.loads(parameters) if parameters else None
    return {} if values is None else {"parameters": values}


def _updated(connection: duckdb.DuckDBPyConnection, document: SnapshotRecord) -> dict[str, str]:
    """Protocol to the latest time at which the source says that it or one of its phases was changed, ISO 8601.

    Protocols are left out of which a row does not say, or says what cannot be true. A column of text does not say:
    its times may be of any time zone.
    """
    instant = datetime.fromisoformat(document.instant).astimezone(UTC).replace(tzinfo=None)
    stated: list[dict[str, str | None]] = []
    for contract, role in ((PROTOCOLS, "id"), (PHASES, "protocol")):
        table = document.tables.get(contract.name)
        columns = [column for column in table.columns if name_key(column.name) == _UPDATED] if table else []
        if table is None or not columns or role not in table.roles or not columns[0].type.startswith("TIMESTAMP"):
            return {}
        statement = sql.render(
            sql.load("warehouse", "plan_updates"),
            table=sql.quote("analytics", contract.name),
            protocol=sql.quote(table.roles[role]),
            updated=sql.quote(columns[0].name),
        )
        stated.append(dict(connection.execute(statement, {"instant": instant}).fetchall()))
    protocols, phases = stated
    return {
        protocol_id: max(updated, of_phases)
        for protocol_id, updated in protocols.items()
        if updated is not None and (of_phases := phases.get(protocol_id)) is not None
    }
