"""Describe the exact pseudonymised input of one analysis as a document with a canonical text, the extract."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from americano_pipelines.analysis.extract_statements import events_statement, protocol_statement
from americano_pipelines.common import sql
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import canonical_json, decode_json_text, sha256_hex
from americano_pipelines.settings import Mode
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

UNREAD_PLAN_NOTE = (
    "the JSON in its analysisPlan is not read: record the plan in interventionParams.analysis of every phase"
)
_EPOCH, _DAY = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)


@dataclass(frozen=True)
class TableRead:
    """What an extract took from one table of a published file.

    Attributes:
        table: the table, such as `research.phases`.
        columns: name and type of each of its columns.
        instant: the instant of the source that the table holds, ISO 8601.
        rows: rows taken.
        times_us: their times, microseconds since 1970 UTC; empty for a table without times.
        query: the statement, with what was bound in comments, learners by their pseudonyms.
    """

    table: str
    columns: Sequence[tuple[str, str]]
    instant: str
    rows: int
    times_us: Sequence[int]
    query: str


class BaseExtract(FrozenModel, ABC):
    """The exact input of an analysis, as a document with a canonical text."""

    @abstractmethod
    def canonical(self) -> bytes:
        """The canonical text of these contents."""

    @abstractmethod
    def reads(self, document: SnapshotRecord) -> list[TableRead]:
        """What was read from each table of the published file that `document` describes."""

    @property
    @abstractmethod
    def outcomes(self) -> Sequence[float | None]:
        """The outcome of each event; None where it has none."""

    @property
    def members(self) -> "Sequence[Extract]":
        """The extracts of the protocols that it is of; empty for an extract of all learners."""
        return ()

    @property
    def title(self) -> str | None:
        """What it is of, for people; None for an extract of all learners."""
        return None

    @property
    def sha256(self) -> str:
        """Hash of the canonical text."""
        return sha256_hex(self.canonical())

    @property
    def protocol_sha256(self) -> str | None:
        """Hash of the protocol or of those of a group, None for an extract of all learners."""
        return None

    @property
    def phases_sha256(self) -> str | None:
        """Hash of the phases likewise."""
        return None


def events_instant(document: SnapshotRecord) -> datetime:
    """The instant up to which the events of a published file are known.

    From Postgres it is the instant of the snapshot. Files made by others do not say when they were exported, and the
    time at which they were read says nothing. They count as complete up to a day after the last event of any learner,
    since nothing happens after the end of the last day of the last experiment.
    """
    events = document.tables[EVENTS.name]
    instant = datetime.fromisoformat(events.instant)
    if document.content.mode != Mode.PARQUET:
        return instant
    last = max((bucket.max_us for bucket in events.figures.values()), default=0)
    return min(instant, _EPOCH + timedelta(microseconds=last) + _DAY)


class Protocol(FrozenModel):
    """The protocol as the source has it; times in microseconds since 1970 UTC, the learner by pseudonym.

    What only some sources have, `improvement`, is left out of the text where there is none, so that hashes of extracts
    stay as they were.
    """

    protocol_id: str
    learner: str
    name: str | None
    design: str | None
    primary_outcome: str | None
    starts_us: int | None
    ends_us: int | None
    plan: str | None
    deviations: Any
    improvement: str | None = None

    @model_serializer(mode="wrap")
    def _present(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_absent(serialize(self), "improvement")

    @property
    def title(self) -> str:
        """Its name, or its id when it has none."""
        return self.name or self.protocol_id


class Phase(FrozenModel):
    """A phase as the source has it; times in microseconds since 1970 UTC, `ends_us` only if it was stated."""

    phase_id: str
    label: str | None
    type: str | None
    starts_us: int
    ends_us: int | None
    planned_days: int | None
    parameters: Any
    seed: int | None

    @property
    def stated_parameters(self) -> object:
        """Its parameters; those that are JSON within a JSON string are read."""
        return decode_json_text(self.parameters)

    def stated(self, name: str) -> object:
        """One of its parameters, read in the same way; None where it has none of this name."""
        parameters = self.stated_parameters
        return decode_json_text(parameters.get(name)) if isinstance(parameters, dict) else None


class Extract(BaseExtract):
    """The exact input of an analysis of one protocol.

    Attributes:
        version: version of this format.
        outcome: the events column that is the outcome.
        protocol: the protocol.
        phases: its phases by start.
        times_us: when each event of the learner happened, microseconds since 1970 UTC, ascending; from the first
            phase's start to the end of the last.
        values: the outcome of each event; None where it has none.
        labels: the phase label that the app gave each event.
        time_zone: the time zone in which days are counted; None for UTC by default, and then left out of the text.
        time_zone_from: where it is from; None likewise.
    """

    version: Literal[1] = 1
    outcome: str
    protocol: Protocol
    phases: list[Phase]
    times_us: list[int]
    values: list[float | None]
    labels: list[str | None]
    time_zone: str | None = None
    time_zone_from: str | None = None

    @model_serializer(mode="wrap")
    def _present(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_absent(serialize(self), "time_zone", "time_zone_from")

    def canonical(self) -> bytes:
        """The canonical text of these contents; an outcome may be NaN."""
        return canonical_json(self.model_dump(), allow_nan=True)

    @classmethod
    def parse(cls, text: bytes) -> "Extract":
        """Parse a canonical text; pydantic's own parser does not accept NaN."""
        return cls.model_validate(json.loads(text))

    @property
    def members(self) -> "Sequence[Extract]":
        """Itself."""
        return (self,)

    @property
    def title(self) -> str:
        """The protocol's name, or its id when it has none."""
        return self.protocol.title

    @property
    def outcomes(self) -> Sequence[float | None]:
        """The outcome of each event; None where it has none."""
        return self.values

    @property
    def protocol_sha256(self) -> str:
        """Hash of the protocol."""
        return sha256_hex(canonical_json(self.protocol.model_dump(mode="json")))

    @property
    def phases_sha256(self) -> str:
        """Hash of the phases."""
        return sha256_hex(canonical_json([phase.model_dump(mode="json") for phase in self.phases]))

    def reads(self, document: SnapshotRecord) -> list[TableRead]:
        """The protocol, its phases, and the learner's events in them.

        Raises:
            AnalysisError: `document` has no such events.
        """
        protocol_id = self.protocol.protocol_id
        columns = {name: sorted(document.models[name].columns.items()) for name in ("protocols", "phases")}
        bound = f"\n-- $1 = {protocol_id!r}"
        protocol, phases = protocol_statement(document).strip() + bound, sql.load("analysis", "phases").strip() + bound
        starts = [phase.starts_us for phase in self.phases]
        bounds = "$2 and $3 from the first phase's start to the last one's end"
        events_bound = f"\n-- $1 = {self.protocol.learner!r} (a pseudonym), {bounds}, $4 = {protocol_id!r}"
        return [
            TableRead("research.protocols", columns["protocols"], document.instant, 1, (), protocol),
            TableRead("research.phases", columns["phases"], document.instant, len(starts), starts, phases),
            TableRead(
                f"analytics.{EVENTS.name}",
                [(column.name, column.type) for column in document.tables[EVENTS.name].columns],
                events_instant(document).isoformat(),
                len(self.times_us),
                self.times_us,
                events_statement(document, self.outcome) + events_bound,
            ),
        ]


def _without_absent(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """The document without these keys where they have no value."""
    return {key: value for key, value in document.items() if key not in names or value is not None}
