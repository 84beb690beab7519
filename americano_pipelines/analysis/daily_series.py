"""Turn the events of an extract into one value a day; list phase lengths and what was left out."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.plots import Band
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.daily_values import Days, days
from americano_pipelines.statistics.phase_windows import UTC_ZONE, StatedPhase, Timeline, timeline
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.text_output import csv_cell

DAILY = "daily.csv"


@dataclass(frozen=True)
class Observations:
    """An extract turned into days.

    Attributes:
        extract: the extract.
        timeline: the windows of its phases.
        days: its days.
        lengths: whole days of each phase.
        planned: planned days of each phase, None when one is not stated.
    """

    extract: Extract
    timeline: Timeline
    days: Days
    lengths: tuple[int, ...]
    planned: tuple[int, ...] | None

    @property
    def labels(self) -> tuple[str, ...]:
        """The phases' labels, by start."""
        return tuple(window.label for window in self.timeline.windows)

    @property
    def lengths_as_drawn(self) -> tuple[int, ...]:
        """The planned days of each phase, which are those that were drawn; the actual ones where one is not stated."""
        return self.planned or self.lengths

    @property
    def planned_end_us(self) -> int:
        """When the plan is over, microseconds since 1970 UTC."""
        return planned_end_us(self.extract, self.timeline)

    def phase_values(self, index: int, *, missing: bool = True) -> Values:
        """Values of a phase's days in order; missing ones are NaN, or left out when `missing` is False."""
        values: Values = self.days.values[self.days.phase == index]
        return values if missing else values[~np.isnan(values)]

    def bands(self) -> list[Band]:
        """The phases as figures show them."""
        position = self.timeline.clock.position
        return [
            Band(window.label, window.condition == "treatment", position(window.starts_us), position(window.ends_us))
            for window in self.timeline.windows
        ]

    def day_definition(self) -> dict[str, JsonValue]:
        """What a day is: its beginning, the time zone and where that is from, and the days that have not 24 hours."""
        clock = self.timeline.clock
        begins = datetime.fromtimestamp(clock.origin_us / 1e6, UTC).astimezone(ZoneInfo(clock.zone))
        return {
            "a day begins at": f"{begins:%H:%M:%S}".removesuffix(":00"),
            "time zone": clock.zone,
            "time zone from": self._zone_source,
            "first day": f"{begins:%Y-%m-%d}",
            "days that have not 24 hours": [
                {"day": day, "hours": hours} for day, hours in clock.odd_days(self.days.values.size).items()
            ],
        }

    @property
    def day_in_words(self) -> str:
        """What a day is, for the methods paragraph."""
        definition = self.day_definition()
        odd = len(self.timeline.clock.odd_days(self.days.values.size))
        other = f", {odd} of them with 23 or 25 hours, because the clocks changed" if odd else ""
        return (
            f"a day beginning at {definition['a day begins at']} in the time zone {definition['time zone']} "
            f"({definition['time zone from']}){other}"
        )

    @property
    def _zone_source(self) -> str:
        stated = self.extract.time_zone
        if stated is None:
            return "the default of AMERICANO_TIME_ZONE"
        if self.timeline.clock.zone != stated:
            return f"the phases begin at whole days in UTC, and not in {stated}, {self.extract.time_zone_from}"
        return str(self.extract.time_zone_from)

    def counts(self) -> dict[str, int]:
        """How many days and events were read, and how many were left out, by reason."""
        return {
            "days": int(self.days.values.size),
            "days with a value": int((~np.isnan(self.days.values)).sum()),
            "days without a value": len(self.days.missing),
            "days left out, a phase switches": len(self.days.switched),
            "events": len(self.extract.times_us),
            "events outside the windows": self.days.outside,
            "events without an outcome": self.days.without_value,
            "events with an outcome that is not finite": self.days.not_finite,
            "events labelled as another phase": self.days.mislabelled,
            "overlapping phases": len(self.timeline.overlaps),
            "gaps between phases": len(self.timeline.gaps),
        }

    def phase_table(self) -> list[dict[str, JsonValue]]:
        """Planned and actual length of each phase, with mean and spread of its events."""
        return [
            {
                "phase": window.label,
                "condition": window.condition,
                "type": window.type,
                "planned days": window.planned_days,
                "actual days": self.timeline.days_of(window),
                "end from": window.end_from,
                "days with a value": int(self.phase_values(index, missing=False).size),
                "mean of days": _mean(self.phase_values(index, missing=False)),
                "events": self.days.described[index].events,
                "mean of events": self.days.described[index].mean,
                "sd of events": self.days.described[index].sd,
            }
            for index, window in enumerate(self.timeline.windows)
        ]

    def daily_csv(self) -> bytes:
        """One row a day: number, phase, condition, value, events; a cell is empty where there is none."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["day", "phase", "condition", "value", "events"])
        for day, (value, events, phase) in enumerate(
            zip(self.days.values.tolist(), self.days.events.tolist(), self.days.phase.tolist(), strict=True)
        ):
            window = self.timeline.windows[phase] if phase >= 0 else None
            shown = "" if np.isnan(value) else repr(value)
            writer.writerow(
                [day, csv_cell(window.label) if window else "", window.condition if window else "", shown, events]
            )
        return stream.getvalue().encode()


def phase_timeline(extract: Extract) -> Timeline:
    """The windows of the phases of an extract.

    Raises:
        AnalysisError: a phase has no type or label, or its times make no sense.
    """
    if untyped := [phase.phase_id for phase in extract.phases if phase.type is None or phase.label is None]:
        raise AnalysisError(f"phases {', '.join(untyped)} have no type or no label, so what they are is not known")
    stated = [
        StatedPhase(phase.label or "", phase.type or "", phase.starts_us, phase.ends_us, phase.planned_days)
        for phase in extract.phases
    ]
    return timeline(stated, extract.protocol.ends_us, extract.time_zone or UTC_ZONE)


def planned_end_us(extract: Extract, windows: Timeline) -> int:
    """When the plan is over: with the last window, the planned days or the protocol, whichever ends last.

    Args:
        extract: the protocol.
        windows: the windows of its phases.

    Returns:
        Microseconds since 1970 UTC.
    """
    first, last, planned = windows.windows[0], windows.windows[-1], _planned_days(windows)
    planned_us = windows.clock.later(first.starts_us, sum(planned)) if planned else 0
    return max(planned_us, last.ends_us, extract.protocol.ends_us or 0)


def observe(extract: Extract) -> Observations:
    """Turn an extract into days.

    Raises:
        AnalysisError: a phase has no type or label, or its times make no sense.
    """
    resolved = phase_timeline(extract)
    day_values = days(resolved, extract.times_us, extract.values, extract.labels)
    lengths = tuple(day_values.lengths(resolved))
    return Observations(extract, resolved, day_values, lengths, _planned_days(resolved))


def _planned_days(windows: Timeline) -> tuple[int, ...] | None:
    """Planned days of each phase, None when one is not stated."""
    planned = tuple(window.planned_days for window in windows.windows if window.planned_days is not None)
    return planned if len(planned) == len(windows.windows) else None


def _mean(values: Values) -> float | None:
    return float(values.mean()) if values.size else None
