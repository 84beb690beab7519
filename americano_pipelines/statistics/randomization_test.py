"""Test by randomization: how extreme is the observed difference among all that could have been drawn?

The null distribution comes from the schedule that was really drawn from, never from shuffled days: these depend on
each other, and shuffling them takes chance for effect (23 % false alarms at AR(1) .5 where 5 % are claimed).

If each treated day had d more than it would have had, then taking d off the treated days leaves days to which the
hypothesis of no effect applies. The statistic is linear, so an assignment with statistic s and a share c of the
treated days' effect is at least as extreme as the observed one (statistic o, share 1) exactly when d is at least (o
- s) / (1 - c), and as extreme the other way when d is at most that. The two p values are therefore counts of these
ratios, and the limits are two of them: no search is needed.

Where c is 1 nothing depends on d: the assignment treats the same days, or divides phases of one condition
otherwise.

Edgington and Onghena, Randomization Tests (2007); Phipson and Smyth (2010) for (b + 1) / (m + 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.prefix_sums import PrefixSums, Values, tolerance
from americano_pipelines.statistics.reference_set import GENERATOR, Case, clopper_pearson, drawn, exact

# Parts of an effect are means of rounded sums, and differ by more than 1 / days^2 if at all.
SHARE_TOLERANCE = 1e-9
# A level such as (1 - .9) / 2 is a little too small in floating point, and must still reject 1 in 20.
_ROUNDED = 1e-9


@dataclass(frozen=True)
class Interval:
    """An interval in outcome units.

    Attributes:
        low: the smallest effect that is not rejected; None where no effect, however small, would be.
        high: the largest, likewise.
        confidence: such as .95.
        why: the reason that a bound is missing; None where both are there.
    """

    low: float | None
    high: float | None
    confidence: float
    why: str | None = None


def invert(
    observed: float,
    contrasts: NDArray[np.float64],
    shares: NDArray[np.float64],
    confidence: float,
    *,
    ties: float,
    sampled: bool,
) -> Interval:
    """The interval of effects that neither one-sided test at half the remaining level rejects.

    Args:
        observed: the observed statistic.
        contrasts: the statistics of the reference set, NaN where a phase is empty; shape (assignments,).
        shares: their share of a constant effect on the treated days, 1 for the observed assignment.
        confidence: such as .95.
        ties: differences between statistics below it are none.
        sampled: the reference set was drawn, so the observed assignment counts besides.
    """
    empty, fixed = np.isnan(contrasts), 1 - shares < SHARE_TOLERANCE
    varying = ~(empty | fixed)
    ratios = np.sort((observed - contrasts[varying]) / (1 - shares[varying]))
    allowed = floor((1 - confidence) / 2 * (contrasts.size + sampled) + _ROUNDED)
    # A bound is the first ratio at which more are as extreme than the level allows.
    above, below = (
        allowed + 1 - sampled - int((empty | (fixed & as_extreme)).sum())
        for as_extreme in (contrasts >= observed - ties, contrasts <= observed + ties)
    )
    low = float(ratios[above - 1]) if 1 <= above <= ratios.size else None
    high = float(ratios[-below]) if 1 <= below <= ratios.size else None
    why = (
        f"more than {allowed:,} of {contrasts.size + sampled:,} assignments are as extreme whatever the effect"
        if low is None or high is None
        else None
    )
    return Interval(low, high, confidence, why)


Direction = Literal["increase", "decrease"]

MAX_EXACT_ASSIGNMENTS = 5_000_000
DRAWS = 99_999


@dataclass(frozen=True)
class RandomizationTest:
    """What the test found.

    Attributes:
        observed: the statistic: treatment minus baseline, averaged over cases, in outcome units.
        admissible: whether what was observed could have been drawn. If not, this is not a randomisation test: p only
            describes how far out the difference lies among those that could.
        assignments: N, how many could have been drawn.
        as_extreme: b, how many of those looked at are at least as extreme, the observed one included when all were.
        draws: m, how many were drawn; None when all were looked at.
        p: as_extreme / assignments, or (as_extreme + 1) / (looked at + 1) where the observed one comes on top of what
            was looked at: of draws, and of all when it is not admissible. Never 0.
        p_interval: 99 % Clopper-Pearson interval of p when it was estimated, else None.
        direction: which way counts as extreme; None for both, on the absolute value.
        smallest_p: the smallest p this test could have given, whatever the values on the days that have one: the share
            of assignments that always count, because they treat the same days as the observed one, or in a two-sided
            test the opposite days, or leave a phase without a value.
        empty: of those looked at, how many leave a phase without a value; they count as extreme.
        tolerance: differences below it are ties, in outcome units.
        seed: of the draws, None when all were looked at.
        generator: of the draws, None likewise.
        interval: of the effect, by inversion of the test.
        edges: bin edges of the reference distribution, in outcome units, shape (bins + 1,).
        counts: assignments in each bin, shape (bins,).
    """

    observed: float
    admissible: bool
    assignments: int
    as_extreme: int
    draws: int | None
    p: float
    p_interval: tuple[float, float] | None
    direction: Direction | None
    smallest_p: float
    empty: int
    tolerance: float
    seed: int | None
    generator: str | None
    interval: Interval
    edges: Values
    counts: NDArray[np.int64]

    def undecided(self, level: float) -> bool:
        """Whether p was estimated and its interval holds the level: more draws are needed."""
        return self.p_interval is not None and self.p_interval[0] <= level < self.p_interval[1]


def randomization_test(
    cases: Sequence[Case],
    *,
    direction: Direction | None,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = DRAWS,
    most_exact: int = MAX_EXACT_ASSIGNMENTS,
) -> RandomizationTest:
    """Test the hypothesis that no day's outcome depends on whether it was treated.

    Args:
        cases: one learner, or several whose schedules were drawn independently; the statistic is averaged over them.
        direction: the way that was declared before; None for a two-sided test on the absolute value.
        confidence: of the effect's interval, which is two-sided whatever the test: at 1 - level it may hold 0 although
            a one-sided test rejects.
        seed: of the draws, if there are too many assignments to look at all.
        draws: how many to draw then.
        most_exact: how many may be looked at.

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
    values, marks = [PrefixSums.of(case.values) for case in cases], [PrefixSums.of(case.marks()) for case in cases]
    looked_at_all = assignments <= most_exact
    contrasts, shares = (
        exact(schedules, values, marks) if looked_at_all else drawn(schedules, values, marks, seed=seed, draws=draws)
    )
    ties = tolerance(*(case.values for case in cases))
    empty = np.isnan(contrasts)
    always = empty | ((np.abs(1 - shares) < SHARE_TOLERANCE) & (np.abs(contrasts - observed) <= ties))
    if direction is None:
        always |= (np.abs(1 + shares) < SHARE_TOLERANCE) & (np.abs(contrasts + observed) <= ties)
        extreme = np.abs(contrasts) >= abs(observed) - ties
    else:
        sign = 1 if direction == "increase" else -1
        extreme = sign * contrasts >= sign * observed - ties
    as_extreme = int((empty | extreme).sum())
    # The observed assignment is one of all, and comes on top of a sample or of a set that does not hold it.
    besides = 0 if looked_at_all and admissible else 1
    counts, edges = _histogram(contrasts[~empty], ties)
    return RandomizationTest(
        observed=observed,
        admissible=admissible,
        assignments=assignments,
        as_extreme=as_extreme,
        draws=None if looked_at_all else draws,
        p=(as_extreme + besides) / (contrasts.size + besides),
        p_interval=None if looked_at_all else clopper_pearson(as_extreme, draws),
        direction=direction,
        smallest_p=(int(always.sum()) + besides) / (contrasts.size + besides),
        empty=int(empty.sum()),
        tolerance=ties,
        seed=None if looked_at_all else seed,
        generator=None if looked_at_all else GENERATOR,
        interval=invert(observed, contrasts, shares, confidence, ties=ties, sampled=not looked_at_all)
        if admissible
        else Interval(None, None, confidence, "what was observed could not have been drawn"),
        edges=edges,
        counts=counts,
    )


def _histogram(contrasts: Values, ties: float) -> tuple[NDArray[np.int64], Values]:
    """Counts and edges; statistics that are the same but for rounding lie in the middle of a range."""
    low, high = (float(contrasts.min()), float(contrasts.max())) if contrasts.size else (0.0, 0.0)
    if high - low <= ties:
        margin = 0.1 * abs(high) or 0.5
        low, high = low - margin, high + margin
    counts, edges = np.histogram(contrasts, bins=min(60, max(10, contrasts.size // 20)), range=(low, high))
    return counts.astype(np.int64), edges
