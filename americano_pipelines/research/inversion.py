"""Confidence interval of the effect: the constant effects that the randomization test would not reject.

If each treated day had d more than it would have had, then taking d off the treated days leaves days to which the
hypothesis of no effect applies. The statistic is linear, so an assignment with statistic s and a share c of the
treated days' effect is at least as extreme as the observed one (statistic o, share 1) exactly when d is at least
(o - s) / (1 - c), and as extreme the other way when d is at most that. The two p values are therefore counts of these
ratios, and the limits are two of them: no search is needed.
"""

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

# Shares are sums of rounded means.
_SAME = 1e-12


@dataclass(frozen=True)
class Interval:
    """An interval in outcome units; a bound is None where no effect, however large, would be rejected."""

    low: float | None
    high: float | None
    confidence: float


def invert(
    observed: float,
    contrasts: NDArray[np.float64],
    shares: NDArray[np.float64],
    confidence: float,
    *,
    sampled: bool,
) -> Interval:
    """The interval of effects that neither one-sided test at half the remaining level rejects.

    Args:
        observed: the observed statistic.
        contrasts: the statistics of the reference set, NaN where a phase is empty; shape (assignments,).
        shares: their share of a constant effect on the treated days, 1 for the observed assignment.
        confidence: such as .95.
        sampled: the reference set was drawn, so the observed assignment counts besides.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (observed - contrasts) / (1 - shares)
    # As extreme whatever the effect: the observed assignment, those that treat the same days, and empty phases.
    always = np.isnan(contrasts) | (1 - shares < _SAME)
    limits = np.sort(ratios[~always])
    number, sure = contrasts.size + sampled, int(always.sum()) + sampled
    # A bound is the first ratio at which the count exceeds half the remaining level.
    needed = floor((1 - confidence) / 2 * number) + 1 - sure
    if needed < 1 or limits.size < needed:
        return Interval(None, None, confidence)
    return Interval(float(limits[needed - 1]), float(limits[-needed]), confidence)
