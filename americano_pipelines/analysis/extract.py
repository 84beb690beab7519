"""The extract: the exact pseudonymised input of one analysis, read out of a published file."""

import hashlib
import json
from typing import Any, Literal

import duckdb
from pydantic import BaseModel, ConfigDict

from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.common import sql
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.research_models import role_value
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(_Part):
    """The protocol as the source has it; times in microseconds since 1970 UTC, the learner by pseudonym."""

    protocol_id: str
    learner: str
    name: str | None
    design: str | None
    primary_outcome: str | None
    starts_us: int | None
    ends_us: int | None
    plan: str | None
    deviations: Any


class Phase(_Part):
    """A phase as the source has it; times in microseconds since 1970 UTC, `ends_us` only if it was stated."""

    phase_id: str
    label: str | None
    type: str | None
    starts_us: int
    ends_us: int | None
    planned_days: int | None
    parameters: Any
    seed: int | None


class Extract(_Part):
    """What an analysis of one protocol is given.

    Attributes:
        version: of this format.
        outcome: the events column that is the outcome.
        protocol: the protocol.
        phases: its phases by start.
        times_us: when each event of the learner happened, microseconds since 1970 UTC, ascending; from the first
            phase's start to the end of the last.
        values: its outcome; None where it has none.
        labels: the phase label that the app gave it.
    """

    version: Literal[1] = 1
    outcome: str
    protocol: Protocol
    phases: list[Phase]
    times_us: list[int]
    values: list[float | None]
    labels: list[str | None]

    def canonical(self) -> bytes:
        """The one text of these contents: JSON with sorted keys and no spaces, numbers as Python writes them."""
        return json.dumps(
            self.model_dump(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=True
        ).encode()

    @classmethod
    def parse(cls, text: bytes) -> "Extract":
        """The extract of a canonical text; not by pydantic's own parser, which knows no NaN."""
        return cls.model_validate(json.loads(text))

    @property
    def sha256(self) -> str:
        """Hash of the canonical text."""
        return hashlib.sha256(self.canonical()).hexdigest()


_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN"),
)
_ROLES = ("id", "time", "learner", "phase", "protocol")


def read_extract(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    document: SnapshotRecord,
    protocol_id: str,
    outcome: str | None,
) -> Extract:
    """Read the extract of a protocol.

    Args:
        connection: the published file, open for reading.
        settings: the data folder, whose key makes the pseudonym.
        document: the file's record.
        protocol_id: the protocol.
        outcome: the events column that is the outcome; None for the protocol's primary outcome.

    Raises:
        AnalysisError: there is no such protocol, it has no phases, or the outcome is not a number in the events.
    """
    for name in ("protocols", "phases"):
        if name not in document.models:
            reason = document.skipped.get(f"research.{name}", "it was not built")
            raise AnalysisError(f"research.{name} is missing in snapshot {document.snapshot_id}: {reason}")
    row = connection.execute(sql.load("analysis", "protocol"), [protocol_id]).fetchone()
    if row is None:
        raise AnalysisError(f"protocol {protocol_id!r} is not in snapshot {document.snapshot_id}")
    _, learner, name, design, primary, starts, ends, plan, deviations = row
    phases = connection.execute(sql.load("analysis", "phases"), [protocol_id]).fetchall()
    if not phases or learner is None:
        raise AnalysisError(f"protocol {protocol_id!r} has no {'phases' if learner else 'learner'}")
    outcome = outcome or primary
    if outcome is None:
        raise AnalysisError(f"protocol {protocol_id!r} states no primary outcome: name one in the configuration")
    events = _events(connection, document, outcome, protocol_id, str(learner))
    return Extract(
        outcome=outcome,
        protocol=Protocol(
            protocol_id=protocol_id,
            learner=pseudonym(settings, str(learner)),
            name=name,
            design=design,
            primary_outcome=primary,
            starts_us=starts,
            ends_us=ends,
            plan=plan,
            deviations=json.loads(deviations) if deviations else None,
        ),
        phases=[
            Phase(
                phase_id=phase_id,
                label=label,
                type=kind,
                starts_us=start,
                ends_us=end,
                planned_days=days,
                parameters=json.loads(parameters) if parameters else None,
                seed=seed,
            )
            for phase_id, label, kind, start, end, days, parameters, seed in phases
        ],
        times_us=[time for time, _, _ in events],
        values=[value for _, value, _ in events],
        labels=[label for _, _, label in events],
    )


def events_statement(document: SnapshotRecord, outcome: str) -> str:
    """The statement that reads a learner's events out of a published file.

    Args:
        document: the file's record.
        outcome: the events column that is the outcome.

    Raises:
        AnalysisError: it has no events with a learner, or the outcome is not a number in them.
    """
    built = document.tables.get(EVENTS.name)
    if built is None or "learner" not in built.roles:
        raise AnalysisError(f"snapshot {document.snapshot_id} has no {EVENTS.name} with a learner")
    numbers = sorted(column.name for column in built.columns if column.type.startswith(_NUMBERS))
    if outcome not in numbers:
        raise AnalysisError(
            f"{outcome!r} is no outcome: {EVENTS.name} has no column of that name that holds numbers "
            f"(it has {', '.join(numbers)})"
        )
    table = SourceTable(EVENTS, built.found_as, tuple(built.columns), built.roles)
    roles = {role: role_value(table, role) if role in built.roles else "NULL" for role in _ROLES}
    return sql.render(sql.load("analysis", "events"), outcome=sql.quote(outcome), **roles)


def _events(
    connection: duckdb.DuckDBPyConnection, document: SnapshotRecord, outcome: str, protocol_id: str, learner: str
) -> list[tuple[int, float | None, str | None]]:
    statement = events_statement(document, outcome)
    bounds = connection.execute(sql.load("analysis", "bounds"), [protocol_id]).fetchone() or (0, 0)
    return connection.execute(statement, [learner, *bounds, protocol_id]).fetchall()
