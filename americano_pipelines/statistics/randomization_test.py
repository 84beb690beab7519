"""Test by randomization: how extreme is the observed difference among all that could have been drawn?

The null distribution comes from the schedule that was really drawn from, never from shuffled days.
"""

# Days depend on each other, and shuffling them takes chance for effect (23 % false alarms at AR(1) .5 where 5 % are
# claimed).
#
# A two-sided p is twice the smaller one-sided p (`doubled`), so that each way has half of the level whatever trend the
# days follow. The absolute value of the statistic (`absolute`), which published examples use, has more power without a
# trend, and on a trend looks one way only. `effect_interval.py` inverts the same test, so p and interval agree.
#
# Edgington and Onghena, Randomization Tests (2007); Phipson and Smyth (2010) for (b + 1) / (m + 1).

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.draw_limits import DRAWS
from americano_pipelines.statistics.effect_interval import (
    SHARE_TOLERANCE,
    Interval,
    TwoSided,
    invert,
)
from americano_pipelines.statistics.outcome_statistics import is_linear
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.reference_set import (
    GENERATOR,
    Case,
    ReferenceSet,
    clopper_pearson,
    draw_assignments,
    enumerate_assignments,
)

Direction = Literal["increase", "decrease"]

MAX_EXACT_ASSIGNMENTS = 5_000_000


@dataclass(frozen=True)
class RandomizationTest:
    """What the test found.

    Attributes:
        observed: the statistic: treatment minus baseline, averaged over cases, in outcome units.
        admissible: whether what was observed could have been drawn. If not, this is not a randomisation test: p only
            describes how far out the difference lies among those that could.
        assignments: N, how many could have been drawn.
        as_extreme: b, how many of those looked at are at least as extreme, the observed one included when all were; in
            a doubled test on the side where they are fewer.
        draws: m, how many were drawn; None when all were looked at.
        p: as_extreme / assignments, or (as_extreme + 1) / (looked at + 1) where the observed one comes on top of what
            was looked at: of draws, and of all when it is not admissible; in a doubled test twice that, at most 1.
            Never 0.
        p_higher: the one-sided p of an increase.
        p_lower: the one-sided p of a decrease.
        p_interval: 99 % Clopper-Pearson interval of p when it was estimated, else None.
        direction: which way counts as extreme; None for both.
        two_sided: how p was made from both sides, None for a one-sided test.
        smallest_p: the smallest p this test could have given, whatever the values on the days that have one: from the
            assignments that always count, because they treat the same days as the observed one, or in an absolute
            test the opposite days, or leave a phase without a value.
        empty: of those looked at, how many leave a phase without a value; they count as extreme.
        tolerance: differences up to it are ties, in outcome units.
        seed: of the draws, None when all were looked at.
        generator: of the draws, None likewise.
        interval: of the effect, by inversion of the two-sided test.
        edges: bin edges of the reference distribution, in outcome units, shape (bins + 1,); no bin holds some that are
            as extreme as the observed one and some that are not.
        counts: assignments in each bin, shape (bins,).
    """

    observed: float
    admissible: bool
    assignments: int
    as_extreme: int
    draws: int | None
    p: float
    p_higher: float
    p_lower: float
    p_interval: tuple[float, float] | None
    direction: Direction | None
    two_sided: TwoSided | None
    smallest_p: float
    empty: int
    tolerance: float
    seed: int | None
    generator: str | None
    interval: Interval
    edges: Values
    counts: NDArray[np.int64]

    @property
    def sides(self) -> int:
        """By how much a one-sided p is multiplied."""
        return 2 if self.two_sided == "doubled" else 1

    @property
    def favoured_direction(self) -> Direction:
        """The way that p speaks for: the declared one, else the side on which fewer are as extreme."""
        return self.direction or _favoured(self.observed, self.p_higher, self.p_lower, self.two_sided)

    def undecided(self, level: float) -> bool:
        """Whether p was estimated and its interval holds the level: more draws are needed."""
        return self.p_interval is not None and self.p_interval[0] <= level < self.p_interval[1]


def randomization_test(
    cases: Sequence[Case],
    *,
    direction: Direction | None,
    level: float = 0.05,
    two_sided: TwoSided = "doubled",
    seed: int = 0,
    draws: int = DRAWS,
    max_exact: int = MAX_EXACT_ASSIGNMENTS,
) -> RandomizationTest:
    """Test the hypothesis that no day's outcome depends on whether it was treated.

    Args:
        cases: one learner, or several whose schedules were drawn independently; the statistic is averaged over them.
        direction: the way that was declared before; None for a two-sided test.
        level: the level of the test. The effect's interval has a confidence of 1 - level, and is two-sided whatever
            the test: it may hold 0 although a one-sided test rejects.
        two_sided: how a two-sided p and the interval are made.
        seed: of the draws, if there are too many assignments to look at all.
        draws: how many to draw then.
        max_exact: how many may be looked at.

    Raises:
        AnalysisError: nothing could have been drawn, or what was observed is no plan for these days, or a phase of it
            has no value.
    """
    observed = float(np.mean([case.contrast() for case in cases]))
    assignments = prod(case.schedule.count for case in cases)
    if assignments == 0:
        raise AnalysisError("no phases within the recorded bounds add up to the planned days: check both")
    admissible = all(case.admissible for case in cases)
    schedules = [case.schedule for case in cases]
    statistics = [(case.evaluate, case.evaluate_share) for case in cases]
    looked_at_all = assignments <= max_exact
    contrasts, shares = (
        enumerate_assignments(schedules, statistics)
        if looked_at_all
        else draw_assignments(schedules, statistics, seed=seed, draws=draws)
    )
    # The observed assignment is one of all, and comes on top of a sample or of a set that does not hold it.
    observed_added = 0 if looked_at_all and admissible else 1
    ties, linear = max(case.ties for case in cases), all(is_linear(case.statistic) for case in cases)
    reference = ReferenceSet(observed, contrasts, shares, ties, observed_added, linear)
    return compare_with_reference(
        reference,
        assignments=assignments,
        admissible=admissible,
        direction=direction,
        level=level,
        two_sided=two_sided,
        sample=None if looked_at_all else (draws, seed),
    )


def compare_with_reference(
    reference: ReferenceSet,
    *,
    assignments: int,
    admissible: bool,
    direction: Direction | None,
    level: float,
    two_sided: TwoSided,
    sample: tuple[int, int] | None,
) -> RandomizationTest:
    """Test an observed statistic against its reference set.

    Args:
        reference: the statistics of all assignments or of draws.
        assignments: how many could have been drawn.
        admissible: whether what was observed could have been drawn.
        direction: the way that was declared before; None for a two-sided test.
        level: the level of the test.
        two_sided: how a two-sided p and the interval are made.
        sample: how many assignments were drawn, and the seed; None when the reference set holds all.
    """
    draws, seed = sample or (None, None)
    observed, contrasts = reference.observed, reference.contrasts
    observed_added = reference.observed_added
    sides = two_sided if direction is None else None
    counted = _Counts.of(reference)
    as_extreme, always = counted.as_extreme(direction, sides)
    factor = 2 if sides == "doubled" else 1
    favoured = direction or _favoured(observed, counted.higher, counted.lower, sides)
    counts, edges = _histogram(contrasts[~np.isnan(contrasts)], observed, reference.ties, higher=favoured == "increase")
    return RandomizationTest(
        observed=observed,
        admissible=admissible,
        assignments=assignments,
        as_extreme=as_extreme,
        draws=draws,
        p=min(1.0, factor * (as_extreme + observed_added) / reference.size),
        p_higher=(counted.higher + observed_added) / reference.size,
        p_lower=(counted.lower + observed_added) / reference.size,
        p_interval=None if draws is None else _doubled_interval(as_extreme, draws, factor),
        direction=direction,
        two_sided=sides,
        smallest_p=min(1.0, factor * (always + observed_added) / reference.size),
        empty=counted.empty,
        tolerance=reference.ties,
        seed=seed,
        generator=None if draws is None else GENERATOR,
        interval=invert(reference, level, two_sided)
        if admissible
        else Interval(None, None, 1 - level, "what was observed could not have been drawn"),
        edges=edges,
        counts=counts,
    )


@dataclass(frozen=True)
class _Counts:
    """How many assignments are at least as high, as low or as far from 0; empty phases count in each.

    Attributes:
        higher: at least as high as the observed statistic.
        lower: at least as low.
        farther: at least as far from 0.
        same: as high and as low whatever the effect, because they treat the same days, or a phase is empty.
        opposite: the same, or as far from 0 on the other side because they treat the opposite days.
        empty: with an empty phase.
    """

    higher: int
    lower: int
    farther: int
    same: int
    opposite: int
    empty: int

    @classmethod
    def of(cls, reference: ReferenceSet) -> "_Counts":
        distance, mirrored, shares = reference.distance, reference.mirrored, reference.shares
        empty = np.isnan(distance)
        # As far from 0: between the observed statistic and the same with its sign turned there is nothing.
        farther = (distance == 0) | (mirrored == 0) | (np.sign(distance) != np.sign(mirrored))
        same = empty | ((np.abs(1 - shares) < SHARE_TOLERANCE) & (distance == 0))
        opposite = same | ((np.abs(1 + shares) < SHARE_TOLERANCE) & (mirrored == 0))
        flags = (empty | (distance <= 0), empty | (distance >= 0), empty | farther, same, opposite, empty)
        return cls(*(int(flag.sum()) for flag in flags))

    def as_extreme(self, direction: Direction | None, two_sided: TwoSided | None) -> tuple[int, int]:
        """How many are as extreme, and how many of these always are."""
        if two_sided == "absolute":
            return self.farther, self.opposite
        if two_sided == "doubled":
            return min(self.higher, self.lower), self.same
        return self.higher if direction == "increase" else self.lower, self.same


def _favoured(observed: float, higher: float, lower: float, two_sided: TwoSided | None) -> Direction:
    """The side on which fewer are as extreme; by the sign where both are alike, or distance from 0 counts."""
    if two_sided == "absolute" or higher == lower:
        return "increase" if observed > 0 else "decrease"
    return "increase" if higher < lower else "decrease"


def _doubled_interval(as_extreme: int, draws: int, factor: int) -> tuple[float, float]:
    low, high = clopper_pearson(as_extreme, draws)
    return min(1.0, factor * low), min(1.0, factor * high)


def _histogram(contrasts: Values, observed: float, ties: float, *, higher: bool) -> tuple[NDArray[np.int64], Values]:
    """Counts and edges; one edge lies between the statistics that are as high (low) as the observed one and the others.

    So no bin holds some that are as extreme and some that are not.
    """
    low, high = (float(bound) for bound in (contrasts.min(initial=observed), contrasts.max(initial=observed)))
    if high - low <= ties:
        # Of a 0 that rounding left, a tenth would make a thousand million bins up to the border.
        margin = 0.1 * abs(high) if abs(high) > ties else 0.5
        low, high = low - margin, high + margin
    # The last bin holds its right edge, the others do not.
    border = observed - ties if higher else float(np.nextafter(observed + ties, np.inf))
    width = (high - low) / min(60, max(10, contrasts.size // 20))
    below, above = (max(1, ceil(part / width - 1e-9)) for part in (border - low, high - border))
    edges: Values = border + width * np.arange(-below, above + 1, dtype=np.float64)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    counts, _ = np.histogram(contrasts, bins=edges)
    return counts.astype(np.int64), edges
