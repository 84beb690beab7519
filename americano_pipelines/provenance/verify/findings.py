"""The findings of a verification: one for each thing checked, with its status."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Group = Literal["record", "app row", "MLflow", "artifacts", "data", "currency", "rerun"]


class Status(StrEnum):
    """The result of one comparison.

    MATCH, DRIFT, MISSING: as recorded, different, gone. NOT_RECORDED: never recorded there. EXTRA: added afterwards by
    people. EXPIRED: a snapshot that retention removed. PURGED: erased on purpose, with a card.

    SAME, CHANGED, UNKNOWN: code, environment or data are today the recorded ones, are others, or are unknown.

    REPEATED, DIFFERS, NOT_REPEATED: a rerun on the same input gives the recorded results, gives others, or failed.
    """

    MATCH = "MATCH"
    DRIFT = "DRIFT"
    MISSING = "MISSING"
    NOT_RECORDED = "NOT_RECORDED"
    EXTRA = "EXTRA"
    EXPIRED = "EXPIRED"
    PURGED = "PURGED"
    SAME = "SAME"
    CHANGED = "CHANGED"
    UNKNOWN = "UNKNOWN"
    REPEATED = "REPEATED"
    DIFFERS = "DIFFERS"
    NOT_REPEATED = "NOT_REPEATED"


# NOT_REPEATED is a fault, because it occurs only where a rerun was requested.
FAULTS = frozenset({Status.DRIFT, Status.MISSING, Status.DIFFERS, Status.NOT_REPEATED})
STALE = frozenset({Status.CHANGED, Status.UNKNOWN})


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: the question it answers.
        what: the compared thing.
        status: the result.
        detail: the recorded and the present value; empty if equal.
    """

    group: Group
    what: str
    status: Status
    detail: str = ""


def compare_values(group: Group, what: str, recorded: str | None, actual: str | None) -> Finding:
    """A recorded text against the one that is there; None when there is none."""
    if actual is None:
        return Finding(group, what, Status.MISSING, "" if recorded is None else f"{short(recorded)} was recorded")
    if actual == recorded:
        return Finding(group, what, Status.MATCH)
    return Finding(group, what, Status.DRIFT, f"recorded {short(recorded)}, now {short(actual)}")


def compare_mappings(group: Group, kind: str, recorded: Mapping[str, str], actual: Mapping[str, str]) -> list[Finding]:
    """Recorded texts by name against those that are there; what is there besides is EXTRA."""
    lines = [compare_values(group, f"{kind} {name}", value, actual.get(name)) for name, value in recorded.items()]
    extra = [name for name in actual if name not in recorded]
    return lines + [Finding(group, f"{kind} {name}", Status.EXTRA, short(actual[name])) for name in extra]


def short(text: str | None, most: int = 80) -> str:
    """A text for a line: of a long one the beginning."""
    shown = repr(text) if text is not None else "nothing"
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
