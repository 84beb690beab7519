"""Invert a randomization test: the interval holds exactly the effects that the test does not reject."""

# If each treated day had d more than it would have had, then taking d off the treated days leaves days to which the
# hypothesis of no effect applies. The statistic is linear: an assignment with statistic s and a share c of the treated
# days' effect then has s - c d, and the observed one o - d.
#
# - It is as high as the observed one exactly when d is at least r = (o - s) / (1 - c), and as low when d is at most
#   that. So the limits of the doubled test are two of these ratios, and no search is needed.
# - Its absolute value is as large exactly when d lies between r and (o + s) / (1 + c). All these ranges hold o, so the
#   effects that the absolute test leaves are an interval too.
#
# Where c is 1 nothing depends on d: the assignment treats the same days, or divides phases of one condition otherwise.
#
# An effect on the slope may be larger under another assignment than under the observed one: c is above 1, and the
# assignment is as high when d is at most r. Then the interval is the smallest that holds all effects that are left.

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.reference_set import ReferenceSet

TwoSided = Literal["doubled", "absolute"]
"""How a two-sided p is made: twice the smaller one-sided p, or from the absolute value of the statistic."""

# Parts of an effect are means of rounded sums, and differ by more than 1 / days^2 if at all.
SHARE_TOLERANCE = 1e-9
# A level such as 1 - .9 is a little too small in floating point, and must still reject 1 in 10.
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

    @property
    def holds_zero(self) -> bool:
        """Whether no effect is among the effects that are left."""
        return (self.low is None or self.low <= 0) and (self.high is None or self.high >= 0)


def rejects(p: float, level: float) -> bool:
    """Whether a p value is at the level or below; what differs by rounding is equal."""
    return p <= level * (1 + _ROUNDED)


def invert(reference: ReferenceSet, level: float, two_sided: TwoSided) -> Interval:
    """The interval of effects that the two-sided test at this level does not reject.

    Args:
        reference: the statistics.
        level: of the test, such as .05; the confidence is 1 - level.
        two_sided: how the test makes its p.
    """
    if not reference.linear:
        why = "the statistic is not linear in the values, so its test is not inverted"
        return Interval(None, None, 1 - level, why)
    allowed = _allowed(reference.size, level, 2 if two_sided == "doubled" else 1)
    if np.nanmax(reference.shares, initial=0.0) > 1 + SHARE_TOLERANCE:
        return _smallest_interval(reference, allowed, level, two_sided)
    lowest, highest = _doubled(reference) if two_sided == "doubled" else _absolute(reference)
    # A bound is the first effect at which more are as extreme than the level allows.
    index = allowed - reference.observed_added
    low = float(np.sort(lowest)[index]) if index >= 0 else -np.inf
    high = float(np.sort(highest)[-index - 1]) if index >= 0 else np.inf
    missing = not np.isfinite(low) or not np.isfinite(high)
    why = f"more than {allowed:,} of {reference.size:,} assignments are as extreme whatever the effect"
    return Interval(
        low if np.isfinite(low) else None,
        high if np.isfinite(high) else None,
        1 - level,
        why if missing else None,
    )


def _smallest_interval(reference: ReferenceSet, allowed: int, level: float, two_sided: TwoSided) -> Interval:
    """The smallest interval that holds all effects that the doubled test leaves, where shares may be above 1."""
    if two_sided == "absolute":
        return Interval(None, None, 1 - level, "the absolute test of such a statistic is not inverted")
    distance, part = reference.distance, 1 - reference.shares
    empty = np.isnan(distance) | np.isnan(part)
    rising, falling = ~empty & (part > SHARE_TOLERANCE), ~empty & (part < -SHARE_TOLERANCE)
    fixed = ~empty & ~rising & ~falling
    always = int(empty.sum()) + reference.observed_added
    highest, lowest = (always + int((fixed & side).sum()) for side in (distance <= 0, distance >= 0))
    up, down = (np.sort(distance[side] / part[side]) for side in (rising, falling))

    def is_left(effects: Values) -> NDArray[np.bool_]:
        as_high = highest + np.searchsorted(up, effects, "right") + down.size - np.searchsorted(down, effects, "left")
        as_low = lowest + up.size - np.searchsorted(up, effects, "left") + np.searchsorted(down, effects, "right")
        result: NDArray[np.bool_] = np.minimum(as_high, as_low) > allowed
        return result

    turning = np.sort(np.concatenate((up, down)))
    left = turning[is_left(turning)]
    ends = is_left(np.array([-np.inf, np.inf]))
    low, high = (
        None if beyond or not left.size else float(bound)
        for beyond, bound in zip(ends, (left[0], left[-1]) if left.size else (0.0, 0.0), strict=True)
    )
    missing = f"more than {allowed:,} of {reference.size:,} assignments are as extreme whatever the effect"
    return Interval(low, high, 1 - level, missing if None in {low, high} else None)


def _allowed(size: int, level: float, sides: int) -> int:
    """The most assignments that may be as extreme when the test rejects."""
    allowed = int(level * size / sides)
    while rejects(sides * (allowed + 1) / size, level):
        allowed += 1
    while allowed and not rejects(sides * allowed / size, level):
        allowed -= 1
    return allowed


def _doubled(reference: ReferenceSet) -> tuple[Values, Values]:
    """From which effect on each assignment is as high as the observed one, and up to which it is as low."""
    distance, fixed = reference.distance, 1 - reference.shares < SHARE_TOLERANCE
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(fixed, np.nan, distance / np.where(fixed, 1, 1 - reference.shares))
    empty = np.isnan(distance)
    lowest = np.where(empty | (fixed & (distance <= 0)), -np.inf, np.where(fixed, np.inf, ratio))
    highest = np.where(empty | (fixed & (distance >= 0)), np.inf, np.where(fixed, -np.inf, ratio))
    return lowest, highest


def _absolute(reference: ReferenceSet) -> tuple[Values, Values]:
    """The range of effects for which each assignment is as far from 0 as the observed one."""
    distance, mirrored, shares = reference.distance, reference.mirrored, reference.shares
    bounds = [_turning_points(distance, 1 - shares), _turning_points(mirrored, 1 + shares)]
    lowest, highest = np.minimum(*bounds), np.maximum(*bounds)
    empty = np.isnan(distance)
    # A tie that no effect changes is as far from 0 whatever the effect.
    always = (
        empty
        | ((np.abs(1 - shares) < SHARE_TOLERANCE) & (distance == 0))
        | ((np.abs(1 + shares) < SHARE_TOLERANCE) & (mirrored == 0))
    )
    return np.where(always, -np.inf, lowest), np.where(always, np.inf, highest)


def _turning_points(distance: Values, part: Values) -> Values:
    """The effect at which `distance - part d` changes its sign, beyond all effects where it never does."""
    fixed = np.abs(part) < SHARE_TOLERANCE
    with np.errstate(invalid="ignore", divide="ignore"):
        turning = distance / np.where(fixed, 1, part)
    return np.where(fixed, np.where(distance > 0, np.inf, -np.inf), turning)
