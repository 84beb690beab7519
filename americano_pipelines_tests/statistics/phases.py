"""Phases and times as the tests write them: in days since a start that is not at midnight."""

from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.phase_windows import StatedPhase

START = 1_700_000_000_000_000


def phase(
    label: str, start: float, end: float | None, planned: int | None = None, kind: str = "BASELINE"
) -> StatedPhase:
    """A phase in days since START."""
    ends = None if end is None else START + round(end * DAY_US)
    return StatedPhase(label, kind, START + round(start * DAY_US), ends, planned)


def at(day: float) -> int:
    return START + round(day * DAY_US)
