"""Derive the time window of each phase and compare it with what was planned.

Read no clock: a window must not depend on when it is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.day_clock import MAX_DAYS, DayClock

Condition = Literal["baseline", "treatment"]

_SECOND_US = 1_000_000
UTC_ZONE = "UTC"
# A withdrawal is the time without the treatment after it: a baseline.
CONDITIONS: dict[str, Condition] = {
    "BASELINE": "baseline",
    "WITHDRAWAL": "baseline",
    "INTERVENTION_A": "treatment",
    "INTERVENTION_B": "treatment",
}


@dataclass(frozen=True)
class StatedPhase:
    """A phase as it was recorded; times in microseconds since 1970 UTC.

    Attributes:
        label: its name.
        type: one of `CONDITIONS`.
        starts_us: when it begins.
        ends_us: when it ends, None when that was not stated.
        planned_days: its planned length, None when that was not stated.
    """

    label: str
    type: str
    starts_us: int
    ends_us: int | None
    planned_days: int | None


@dataclass(frozen=True)
class Window:
    """A phase as it is used: the half-open time from `starts_us` to before `ends_us`.

    Attributes:
        label: its name.
        type: one of `CONDITIONS`.
        condition: what it counts as.
        starts_us: microseconds since 1970 UTC.
        ends_us: likewise.
        planned_days: its planned length, None when that was not stated.
        end_from: where its end comes from.
    """

    label: str
    type: str
    condition: Condition
    starts_us: int
    ends_us: int
    planned_days: int | None
    end_from: Literal["stated", "next phase", "protocol", "planned length"]


@dataclass(frozen=True)
class Timeline:
    """The windows of a protocol, by start.

    Attributes:
        windows: each ends where the next begins at the latest.
        overlaps: pairs of labels of which the first was cut off where the second begins.
        gaps: pairs of labels with time between them that belongs to neither; a second or less is none.
        clock: counts its days.
    """

    windows: tuple[Window, ...]
    overlaps: tuple[tuple[str, str], ...]
    gaps: tuple[tuple[str, str], ...]
    clock: DayClock

    @property
    def cut(self) -> tuple[bool, ...]:
        """Whether each window begins within a day."""
        return tuple(not self.clock.begins_day(window.starts_us) for window in self.windows)

    @property
    def interventions(self) -> tuple[str, ...]:
        """The types of the treatment windows, each once, in the order in which they come."""
        return tuple(dict.fromkeys(window.type for window in self.windows if window.condition == "treatment"))

    def days_of(self, window: Window) -> float:
        """The length of a window in days."""
        return self.clock.position(window.ends_us) - self.clock.position(window.starts_us)


def day_clock(starts_us: Sequence[int], zone: str) -> DayClock:
    """The clock of a protocol.

    Phases that all begin at whole days of 24 hours, and in the zone do not, were laid out in UTC: the clocks changed
    between them. Their days are counted in UTC then, or each phase after the change would begin within a day.

    Args:
        starts_us: when each phase begins, microseconds since 1970 UTC.
        zone: name of the learner's time zone.
    """
    origin = min(starts_us)
    local, universal = DayClock(origin, zone), DayClock(origin, UTC_ZONE)
    in_zone, in_utc = (all(map(clock.begins_day, starts_us)) for clock in (local, universal))
    return universal if in_utc and not in_zone else local


def timeline(phases: Sequence[StatedPhase], protocol_ends_us: int | None, zone: str = UTC_ZONE) -> Timeline:
    """Resolve phases to windows.

    A phase without an end of its own ends where the next one begins, else with its protocol, else as planned. Where
    two overlap, time belongs to the one that began last: it happened once. An end a second or less before the next
    phase, or before a whole day, is that: people write 23:59:59.999 for the end of a day.

    Args:
        phases: as recorded, in any order.
        protocol_ends_us: the protocol's end, None when that was not stated.
        zone: name of the learner's time zone.

    Raises:
        AnalysisError: a phase's type or the time zone is none we know, it has no end from anywhere, it ends before it
            begins, or the number of its planned days is no length.
    """
    ordered = sorted(phases, key=lambda phase: (phase.starts_us, phase.label))
    clock = day_clock([phase.starts_us for phase in ordered] or [0], zone)
    windows: list[Window] = []
    overlaps, gaps = [], []
    for phase, following in zip_longest(ordered, ordered[1:]):
        if phase.type not in CONDITIONS:
            raise AnalysisError(
                f"phase {phase.label!r} is of type {phase.type!r}, which is neither baseline nor treatment "
                f"(known are {', '.join(CONDITIONS)})"
            )
        if phase.planned_days is not None and not 1 <= phase.planned_days <= MAX_DAYS:
            raise AnalysisError(f"phase {phase.label!r} is planned for {phase.planned_days} days, which is no length")
        ends, source = _end(phase, following, protocol_ends_us, clock)
        if following is not None and ends > following.starts_us:
            overlaps.append((phase.label, following.label))
            ends = following.starts_us
        elif following is not None and ends < following.starts_us - _SECOND_US:
            gaps.append((phase.label, following.label))
        elif following is not None:
            ends = following.starts_us
        else:
            ends = _whole_day(ends, clock)
        if ends <= phase.starts_us:
            raise AnalysisError(f"phase {phase.label!r} ends before it begins, or with its beginning")
        condition = CONDITIONS[phase.type]
        windows.append(Window(phase.label, phase.type, condition, phase.starts_us, ends, phase.planned_days, source))
    return Timeline(tuple(windows), tuple(overlaps), tuple(gaps), clock)


def _whole_day(ends_us: int, clock: DayClock) -> int:
    """The end of the day that the last second of is missing, else the same."""
    end = clock.start(clock.ceiling(ends_us))
    return end if end - ends_us <= _SECOND_US else ends_us


def _end(
    phase: StatedPhase, following: StatedPhase | None, protocol_ends_us: int | None, clock: DayClock
) -> tuple[int, Literal["stated", "next phase", "protocol", "planned length"]]:
    if phase.ends_us is not None:
        return phase.ends_us, "stated"
    if following is not None:
        return following.starts_us, "next phase"
    if protocol_ends_us is not None:
        return protocol_ends_us, "protocol"
    if phase.planned_days is not None:
        return clock.later(phase.starts_us, phase.planned_days), "planned length"
    raise AnalysisError(f"phase {phase.label!r} has no end: none is stated, it is the last, and no length was planned")
