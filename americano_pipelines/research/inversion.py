"""Confidence interval of the effect: the constant effects that the randomization test would not reject.

If each treated day had d more than it would have had, then taking d off the treated days leaves days to which the
hypothesis of no effect applies. The statistic is linear, so an assignment with statistic s and a share c of the
treated days' effect is at least as extreme as the observed one (statistic o, share 1) exactly when d is at least
(o - s) / (1 - c), and as extreme the other way when d is at most that. The two p values are therefore counts of these
ratios, and the limits are two of them: no search is needed.

Where c is 1 nothing depends on d: the assignment treats the same days, or divides phases of one condition otherwise.
"""

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

# Parts of an effect are means of rounded sums, and differ by more than 1 / days^2 if at all.
SAME = 1e-9
# A level such as (1 - .9) / 2 is a little less than it says, and must still reject 1 in 20.
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
    empty, fixed = np.isnan(contrasts), 1 - shares < SAME
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
