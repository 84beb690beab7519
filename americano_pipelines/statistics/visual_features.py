"""Measure what visual analysis looks at: level, trend, variability, immediacy, overlap, consistency.

The features describe; none of them judges.
"""

# Kratochwill et al. (2010) for the six features; Gast and Ledford (2014) for the stability envelope; White and Haring
# (1980) for the projected baseline; Manolov, Tanious and Onghena (2022) for the consistency of level, trend and
# variability.

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from americano_pipelines.statistics.overlap_measures import DatedValues, overlap
from americano_pipelines.statistics.phase_windows import Condition
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.randomization_test import Direction

# A phase is stable when 80 % of its days lie within 25 % of its median.
ENVELOPE, STABLE_SHARE = 0.25, 0.8
# Days beside a switch that immediacy compares; fewer days than this have no trend.
NEAREST, _MIN_TREND_DAYS = 3, 3
Row = dict[str, str | float | int | bool | None]


@dataclass(frozen=True)
class PhaseDays:
    """A phase with its days.

    Attributes:
        label: its label.
        kind: what is compared with its like, such as `BASELINE`.
        condition: baseline or treatment.
        days: its days that have a value.
        first: where it begins, in days since the experiment began.
        end: where it ends, likewise.
    """

    label: str
    kind: str
    condition: Condition
    days: DatedValues
    first: float
    end: float


@dataclass(frozen=True)
class Line:
    """A straight line by least squares.

    Attributes:
        slope: change a day, in outcome units.
        start: its value on day 0 of the experiment.
    """

    slope: float
    start: float

    def at(self, days: Values) -> Values:
        """Its values on these days."""
        return self.start + self.slope * days

    def ends(self, phase: PhaseDays) -> tuple[float, float]:
        """Its values where a phase begins and ends; a day counts at its middle."""
        return self.start + self.slope * (phase.first - 0.5), self.start + self.slope * (phase.end - 0.5)


@dataclass(frozen=True)
class PhaseFeatures:
    """Level, trend and variability of a phase that has a day with a value.

    Attributes:
        phase: the phase.
        mean: of its days.
        median: likewise.
        trend: None for fewer than three days.
        sd: standard deviation, None for one day.
        lowest: lowest day.
        highest: highest day.
        envelope: 25 % of the median below and above it; None of days of which one is negative, or with a median of 0,
            for which per cents mean nothing.
        within: share of the days within the envelope.
        within_trend: share of the days within 25 % of the median of the trend.
    """

    phase: PhaseDays
    mean: float
    median: float
    trend: Line | None
    sd: float | None
    lowest: float
    highest: float
    envelope: tuple[float, float] | None
    within: float | None
    within_trend: float | None

    @property
    def stable(self) -> bool | None:
        """Whether enough of the days lie within the envelope, None without one."""
        return None if self.within is None else self.within >= STABLE_SHARE


@dataclass(frozen=True)
class SwitchFeatures:
    """What changes between two neighbouring phases, treatment less baseline whichever came first.

    Attributes:
        first: the phase that came first.
        second: the other.
        level: difference of the means.
        trend: difference of the slopes, None where one has none.
        variability: treatment's standard deviation by the baseline's; None where one has none, or it is 0.
        immediacy: mean of the three treatment days nearest to the switch less that of the three baseline days; None
            where there are fewer.
        nap: share of baseline-treatment pairs in which treatment is better, ties half.
        pnd: share of treatment days beyond the best baseline day.
        above_projection: mean of the treatment days less the trend of the baseline before them, carried on; None for
            a baseline that comes after, or has no trend.
        beyond_projection: share of the treatment days that are better than it.
    """

    first: PhaseFeatures
    second: PhaseFeatures
    level: float
    trend: float | None
    variability: float | None
    immediacy: float | None
    nap: float
    pnd: float
    above_projection: float | None
    beyond_projection: float | None


@dataclass(frozen=True)
class VisualFeatures:
    """The features of an experiment.

    Attributes:
        phases: of each phase that has a day with a value.
        switches: of each two neighbours of which one is baseline and the other treatment.
    """

    phases: tuple[PhaseFeatures, ...]
    switches: tuple[SwitchFeatures, ...]

    def tables(self) -> dict[str, list[Row]]:
        """A table for each feature, and one for the projected baseline."""
        named = [(f"{switch.first.phase.label} and {switch.second.phase.label}", switch) for switch in self.switches]
        return {
            "level": [
                {"phase": phase.phase.label, "mean": phase.mean, "median": phase.median} for phase in self.phases
            ],
            "trend": [
                {
                    "phase": phase.phase.label,
                    "slope a day": phase.trend.slope if phase.trend else None,
                    "share of days within 25 % of it": phase.within_trend,
                }
                for phase in self.phases
            ],
            "variability": [
                {
                    "phase": phase.phase.label,
                    "sd": phase.sd,
                    "lowest": phase.lowest,
                    "highest": phase.highest,
                    "envelope from": phase.envelope[0] if phase.envelope else None,
                    "envelope to": phase.envelope[1] if phase.envelope else None,
                    "share of days within it": phase.within,
                    "stable": phase.stable,
                }
                for phase in self.phases
            ],
            "immediacy": [
                {"phases": name, "nearest three days": switch.immediacy, "all days": switch.level}
                for name, switch in named
            ],
            "overlap": [{"phases": name, "NAP": switch.nap, "PND": switch.pnd} for name, switch in named],
            "consistency": self._consistency(),
            "projection of the baseline": [
                {
                    "phases": name,
                    "mean of treatment less projection": switch.above_projection,
                    "share of treatment days better than it": switch.beyond_projection,
                }
                for name, switch in named
                if switch.above_projection is not None
            ],
        }

    def _consistency(self) -> list[Row]:
        """How phases of one kind differ: the later less the earlier."""
        rows: list[Row] = []
        for first, second in combinations(self.phases, 2):
            if first.phase.kind != second.phase.kind:
                continue
            spread = _pooled_sd(first, second)
            rows.append(
                {
                    "phases": f"{first.phase.label} and {second.phase.label}",
                    "level": second.mean - first.mean,
                    "level in sd": (second.mean - first.mean) / spread if spread else None,
                    "slope": second.trend.slope - first.trend.slope if first.trend and second.trend else None,
                    "sd": second.sd - first.sd if first.sd is not None and second.sd is not None else None,
                }
            )
        return rows


def visual_features(phases: Sequence[PhaseDays], improvement: Direction) -> VisualFeatures:
    """Measure the features; phases without a value are left out.

    Args:
        phases: the phases, in order.
        improvement: which way is better.
    """
    features = [_phase_features(phase) if phase.days.values.size else None for phase in phases]
    switches = [
        _switch_features(first, second, improvement)
        for first, second in pairwise(features)
        if first is not None and second is not None and first.phase.condition != second.phase.condition
    ]
    return VisualFeatures(tuple(phase for phase in features if phase is not None), tuple(switches))


def _phase_features(phase: PhaseDays) -> PhaseFeatures:
    values, days = phase.days.values, phase.days.days.astype(np.float64)
    median = float(np.median(values))
    trend = _least_squares(days, values) if values.size >= _MIN_TREND_DAYS else None
    margin = ENVELOPE * median if values.min() >= 0 and median > 0 else None
    return PhaseFeatures(
        phase=phase,
        mean=float(values.mean()),
        median=median,
        trend=trend,
        sd=float(values.std(ddof=1)) if values.size > 1 else None,
        lowest=float(values.min()),
        highest=float(values.max()),
        envelope=None if margin is None else (median - margin, median + margin),
        within=None if margin is None else _share_within(values - median, margin),
        within_trend=None if margin is None or trend is None else _share_within(values - trend.at(days), margin),
    )


def _share_within(distances: Values, margin: float) -> float:
    # 1e-9: a day on the bound is within, whatever rounding does.
    return float((np.abs(distances) <= margin * (1 + 1e-9)).mean())


def _least_squares(days: Values, values: Values) -> Line:
    centred = days - days.mean()
    slope = float((centred * values).sum() / (centred**2).sum())
    return Line(slope, float(values.mean()) - slope * float(days.mean()))


def _switch_features(first: PhaseFeatures, second: PhaseFeatures, improvement: Direction) -> SwitchFeatures:
    into = second.phase.condition == "treatment"
    before, after = (first, second) if into else (second, first)
    baseline, treatment = before.phase.days, after.phase.days
    nearest = first.phase.days.values[-NEAREST:].mean(), second.phase.days.values[:NEAREST].mean()
    enough = min(baseline.values.size, treatment.values.size) >= NEAREST
    shared = overlap(baseline.values, treatment.values, improvement)
    assert shared is not None  # noqa: S101 - phases without a value were left out
    above = beyond = None
    if into and before.trend is not None:
        residuals = treatment.values - before.trend.at(treatment.days.astype(np.float64))
        above, beyond = (
            float(residuals.mean()),
            float((residuals > 0 if improvement == "increase" else residuals < 0).mean()),
        )
    return SwitchFeatures(
        first=first,
        second=second,
        level=after.mean - before.mean,
        trend=after.trend.slope - before.trend.slope if before.trend and after.trend else None,
        variability=after.sd / before.sd if before.sd and after.sd is not None else None,
        immediacy=float(nearest[1] - nearest[0]) * (1 if into else -1) if enough else None,
        nap=shared.nap,
        pnd=shared.pnd,
        above_projection=above,
        beyond_projection=beyond,
    )


def _pooled_sd(first: PhaseFeatures, second: PhaseFeatures) -> float | None:
    if first.sd is None or second.sd is None:
        return None
    m, n = first.phase.days.values.size, second.phase.days.values.size
    return float(np.sqrt(((m - 1) * first.sd**2 + (n - 1) * second.sd**2) / (m + n - 2)))
