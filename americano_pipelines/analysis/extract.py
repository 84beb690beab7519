"""The extract: exactly what an analysis is given, pseudonymised, as one canonical document with a hash of its own.

Here belongs its shape. An analysis sees nothing else, so whoever has the extract can repeat it although the snapshot
has expired. How it is read out of a published file is `reading.py`; where extracts are kept is `tracking/`.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


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
