"""Turn the events of an extract into one value a day, with what every analysis shows of the days.

Also list what was left out, planned and actual phase lengths, and the daily CSV.
"""

import csv
import io
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.plots import Band
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.daily_values import Days, days
from americano_pipelines.statistics.phase_windows import DAY_US, StatedPhase, Timeline, timeline
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.text_output import csv_cell


@dataclass(frozen=True)
class Observations:
    """An extract turned into days.

    Attributes:
        extract: what was given.
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
    def planned_end_us(self) -> int:
        """When the plan is over: with the last window, the planned days or the protocol, whichever ends last."""
        windows = self.timeline.windows
        planned = windows[0].starts_us + sum(self.planned) * DAY_US if self.planned else 0
        return max(planned, windows[-1].ends_us, self.extract.protocol.ends_us or 0)

    def phase_values(self, index: int, *, missing: bool = True) -> Values:
        """Values of a phase's days in order; with NaN for missing ones, or without them."""
        values: Values = self.days.values[self.days.phase == index]
        return values if missing else values[~np.isnan(values)]

    def bands(self) -> list[Band]:
        """The phases as pictures show them."""
        origin = self.timeline.windows[0].starts_us
        return [
            Band(
                window.label,
                window.condition == "treatment",
                (window.starts_us - origin) / DAY_US,
                (window.ends_us - origin) / DAY_US,
            )
            for window in self.timeline.windows
        ]

    def counts(self) -> dict[str, int]:
        """What was found and what was left out, by reason."""
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
        """Planned and actual lengths, and the events of each phase for description."""
        return [
            {
                "phase": window.label,
                "condition": window.condition,
                "planned days": window.planned_days,
                "actual days": window.days,
                "end from": window.end_from,
                "days with a value": int(self.phase_values(index, missing=False).size),
                "mean of days": _mean(self.phase_values(index, missing=False)),
                "events": self.days.described[index].events,
                "mean of events": self.days.described[index].mean,
                "sd of events": self.days.described[index].sd,
            }
            for index, window in enumerate(self.timeline.windows)
        ]

    def daily_csv(self) -> str:
        """One row a day: number, phase, condition, value, events; empty where there is none."""
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
        return stream.getvalue()


def observe(extract: Extract) -> Observations:
    """Turn an extract into days.

    Raises:
        AnalysisError: a phase has no type or label, or its times make no sense.
    """
    if untyped := [phase.phase_id for phase in extract.phases if phase.type is None or phase.label is None]:
        raise AnalysisError(f"phases {', '.join(untyped)} have no type or no label, so what they are is not known")
    stated = [
        StatedPhase(phase.label or "", phase.type or "", phase.starts_us, phase.ends_us, phase.planned_days)
        for phase in extract.phases
    ]
    resolved = timeline(stated, extract.protocol.ends_us)
    day_values = days(resolved, extract.times_us, extract.values, extract.labels)
    planned = [window.planned_days for window in resolved.windows if window.planned_days is not None]
    whole = len(planned) == len(resolved.windows)
    return Observations(
        extract, resolved, day_values, tuple(day_values.lengths(resolved.windows)), tuple(planned) if whole else None
    )


def _mean(values: Values) -> float | None:
    return float(values.mean()) if values.size else None
