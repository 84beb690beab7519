"""Prepare the days and phases of an experiment for a drawing, and the lines by which people judge a phase by eye."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean, linear_regression
from typing import Any

from americano_pipelines.statistics.phase_windows import CONDITIONS

_DAY = timedelta(days=1)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Day:
    """A day of an experiment.

    Attributes:
        number: from 0.
        date: when it begins, ISO 8601.
        value: the outcome, None without any.
        phase: label of its phase, None for a day in none.
        phase_number: the phase's place from 0, None likewise.
        condition: baseline or treatment, None likewise.
        events: how many events have an outcome.
        left_out: why it does not count, None for one that does.
    """

    number: int
    date: str
    value: float | None
    phase: str | None
    phase_number: int | None
    condition: str | None
    events: int
    left_out: str | None


@dataclass(frozen=True)
class Phase:
    """A phase.

    Attributes:
        label: its label.
        condition: baseline or treatment.
        first: its beginning in days since the first phase began.
        end: its end, likewise.
        planned_days: None where none are planned.
        starts: ISO 8601.
        ends: likewise.
    """

    label: str
    condition: str
    first: float
    end: float
    planned_days: int | None
    starts: str
    ends: str

    @property
    def days(self) -> float:
        """How many days it takes."""
        return self.end - self.first


@dataclass(frozen=True)
class PhaseLines:
    """The lines of a phase.

    Attributes:
        label: the phase.
        condition: baseline or treatment.
        first: where the lines begin, in days since the first phase began.
        end: where they end.
        level: mean of its days.
        trend: least-squares line through its days, its values at both ends; None for fewer than three days.
        lowest: its lowest day.
        highest: its highest day.
        days: how many days have a value.
    """

    label: str
    condition: str
    first: float
    end: float
    level: float
    trend: tuple[float, float] | None
    lowest: float
    highest: float
    days: int


_MIN_TREND_DAYS = 3


def moment_of(text: str | None) -> datetime | None:
    """A time of an answer; None for none, and for one that is infinite."""
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def phases_of(rows: Sequence[Row]) -> list[Phase]:
    """The phases of an experiment; those without a beginning and an end are left out.

    Args:
        rows: of the table `phases`.
    """
    windows = [(moment_of(row["starts_at"]), moment_of(row["ends_at"]), row) for row in rows]
    usable = [(start, end, row) for start, end, row in windows if start is not None and end is not None and end > start]
    origin = min((start for start, _, _ in usable), default=None)
    return [
        Phase(
            label=row["phase"] or "without a label",
            condition=CONDITIONS.get(row["phase_type"], "baseline"),
            first=(start - origin) / _DAY,
            end=(end - origin) / _DAY,
            planned_days=row["planned_days"],
            starts=row["starts_at"],
            ends=row["ends_at"],
        )
        for start, end, row in usable
        if origin is not None
    ]


def days_of(rows: Sequence[Row], phases: Sequence[Phase], instant: datetime) -> list[Day]:
    """The days of an experiment that are over.

    Args:
        rows: of the table `series`.
        phases: its phases.
        instant: the instant of the data; a day that ends later is not over.
    """
    days = []
    for row in rows:
        start = moment_of(row["starts_at"])
        if start is None or start + _DAY > instant:
            continue
        middle = row["day"] + 0.5
        numbers = [index for index, phase in enumerate(phases) if phase.first < middle < phase.end]
        days.append(
            Day(
                number=row["day"],
                date=row["starts_at"],
                value=row["value"],
                phase=row["phase"],
                phase_number=numbers[-1] if numbers and row["phase"] is not None else None,
                condition=row["condition"],
                events=row["events"],
                left_out=row["left_out"],
            )
        )
    return days


def lines_of(days: Sequence[Day], phases: Sequence[Phase]) -> list[PhaseLines]:
    """Level, trend and range of each phase that has days with a value."""
    lines = []
    for index, phase in enumerate(phases):
        points = [(day.number + 0.5, day.value) for day in days if day.phase_number == index and day.value is not None]
        if not points:
            continue
        at, values = zip(*points, strict=True)
        trend = None
        if len(points) >= _MIN_TREND_DAYS:
            slope, intercept = linear_regression(at, values)
            trend = (intercept + slope * phase.first, intercept + slope * phase.end)
        lines.append(
            PhaseLines(
                label=phase.label,
                condition=phase.condition,
                first=phase.first,
                end=phase.end,
                level=fmean(values),
                trend=trend,
                lowest=min(values),
                highest=max(values),
                days=len(points),
            )
        )
    return lines


def end_of(protocol: Row, phases: Sequence[Row]) -> datetime | None:
    """When the last phase of an experiment ends; None where one has no end, or an infinite one.

    Args:
        protocol: its row of the table `protocols`, whose end counts where there are no phases.
        phases: its rows of the table `phases`, or its row of the table `periods`.
    """
    ends = [moment_of(row["ends_at"]) for row in phases or [protocol]]
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None
