"""Reduce events to one value a day: which events count, on which day, in which phase."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.phase_windows import Timeline, Window

NO_PHASE = -1
# In size, unless 0: beyond these the powers that statistics are made of are soon no numbers, or 0.
MIN_MAGNITUDE, MAX_MAGNITUDE = 1e-50, 1e50


@dataclass(frozen=True)
class Described:
    """The events of a phase, each for itself: for description only, for they are not independent.

    Attributes:
        label: the phase.
        events: events with a value.
        mean: their mean, None without any.
        sd: their standard deviation (n - 1), None with fewer than two.
    """

    label: str
    events: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Days:
    """The days of a protocol.

    Attributes:
        values: the mean of the day's outcomes, NaN for a day without any or left out; shape (days,).
        with_switches: the same with a value on days in which a phase begins, of what lies within any phase then: under
            another assignment such a day is a day like any other; shape (days,).
        events: events with a value on each day, in any phase; shape (days,).
        phase: index of the window each day belongs to, -1 for none or for a day left out; shape (days,).
        switched: days left out because a phase begins or ends within them.
        described: the events of each phase for themselves.
        outside: events that fall into no window.
        without_value: events in windows that have no outcome.
        not_finite: events in windows whose outcome is NaN or infinite.
        mislabelled: events in windows whose label names another phase; the window decides.
    """

    values: NDArray[np.float64]
    with_switches: NDArray[np.float64]
    events: NDArray[np.int64]
    phase: NDArray[np.int64]
    switched: tuple[int, ...]
    described: tuple[Described, ...]
    outside: int
    without_value: int
    not_finite: int
    mislabelled: int

    @property
    def missing(self) -> tuple[int, ...]:
        """Days in a phase that have no value; they keep their position."""
        return tuple(int(day) for day in np.flatnonzero((self.phase != NO_PHASE) & np.isnan(self.values)))

    def lengths(self, timeline: Timeline) -> list[int]:
        """Days of each window, days left out counted with the phase that begins in them."""
        starts = [timeline.clock.day(window.starts_us) for window in timeline.windows]
        return [end - start for start, end in zip(starts, [*starts[1:], self.values.size], strict=True)]


def days(
    timeline: Timeline, times_us: Sequence[int], outcomes: Sequence[float | None], labels: Sequence[str | None]
) -> Days:
    """Make the days of a protocol from the events of its learner.

    Args:
        timeline: the protocol's windows.
        times_us: when each event happened, microseconds since 1970 UTC; shape (events,).
        outcomes: its outcome, None where it has none; shape (events,).
        labels: the phase that the app thought it was in; shape (events,).

    Raises:
        AnalysisError: there are no windows, the arrays differ in length, or an outcome is too large or too near 0
            to compute with.
    """
    windows, clock = timeline.windows, timeline.clock
    if not windows:
        raise AnalysisError("the protocol has no phases")
    if not len(times_us) == len(outcomes) == len(labels):
        raise AnalysisError("times, outcomes and labels must be of one length")
    times = np.array(times_us, dtype=np.int64)
    number, day = clock.ceiling(windows[-1].ends_us), clock.days(times)
    has_value = np.array([value is not None for value in outcomes], dtype=np.bool_)
    value = np.array([np.nan if value is None else value for value in outcomes], dtype=np.float64)
    window = _window_of(times, windows)
    inside = window != NO_PHASE
    counted = inside & has_value & np.isfinite(value)
    sizes = np.abs(value[counted])
    if (beyond := (sizes > MAX_MAGNITUDE) | ((sizes < MIN_MAGNITUDE) & (sizes > 0))).any():
        raise AnalysisError(
            f"{value[counted][beyond][0]:g} cannot be computed with, an outcome on day {day[counted][beyond][0]}: "
            f"outcomes are 0 or {MIN_MAGNITUDE:g} to {MAX_MAGNITUDE:g} in size"
        )
    sums = np.bincount(day[counted], weights=value[counted], minlength=number)
    events = np.bincount(day[counted], minlength=number).astype(np.int64)
    phase, switched = _phase_of_days(timeline, number)
    means = np.where(events > 0, sums / np.maximum(events, 1), np.nan)
    # Not on a day that a phase only ends in: what comes after it is in no phase, and would count with this one.
    begins = np.zeros(number, dtype=np.bool_)
    begins[[clock.day(window.starts_us) for window, cut in zip(windows, timeline.cut, strict=True) if cut]] = True
    label_of = [windows[index].label if index != NO_PHASE else None for index in window]
    return Days(
        values=np.where(phase != NO_PHASE, means, np.nan),
        with_switches=np.where((phase != NO_PHASE) | begins, means, np.nan),
        events=events,
        phase=phase,
        switched=switched,
        described=tuple(_describe(w.label, value[counted & (window == index)]) for index, w in enumerate(windows)),
        outside=int((~inside).sum()),
        without_value=int((inside & ~has_value).sum()),
        not_finite=int((inside & has_value & ~np.isfinite(value)).sum()),
        mislabelled=sum(
            label is not None and phase_label is not None and label != phase_label
            for label, phase_label in zip(labels, label_of, strict=True)
        ),
    )


def _window_of(times: NDArray[np.int64], windows: Sequence[Window]) -> NDArray[np.int64]:
    """Index of the window each time falls into, -1 for none."""
    starts = np.array([window.starts_us for window in windows], dtype=np.int64)
    ends = np.array([window.ends_us for window in windows], dtype=np.int64)
    index = np.searchsorted(starts, times, side="right") - 1
    return np.where((index >= 0) & (times < ends[index]), index, NO_PHASE).astype(np.int64)


def _phase_of_days(timeline: Timeline, number: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """The window that holds each whole day; days that a boundary cuts belong to none."""
    clock = timeline.clock
    phase = np.full(number, NO_PHASE, dtype=np.int64)
    switched: set[int] = set()
    for index, window in enumerate(timeline.windows):
        phase[clock.ceiling(window.starts_us) : clock.day(window.ends_us)] = index
        switched |= {clock.day(edge) for edge in (window.starts_us, window.ends_us) if not clock.begins_day(edge)}
    return phase, tuple(sorted(switched))


def _describe(label: str, values: NDArray[np.float64]) -> Described:
    return Described(
        label,
        int(values.size),
        float(values.mean()) if values.size else None,
        float(values.std(ddof=1)) if values.size > 1 else None,
    )
