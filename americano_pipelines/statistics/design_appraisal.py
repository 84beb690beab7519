"""Appraise a design: phases, days, randomisation and deviations, in the spirit of the What Works standards.

Ignore p and effects: a strong result does not improve a weak design.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Rating = Literal["meets", "meets with reservations", "does not meet"]
ATTEMPTS, ENOUGH_DAYS, MIN_DAYS = 3, 5, 3


@dataclass(frozen=True)
class Point:
    """One point of the appraisal: the question, its rating, and the reason."""

    question: str
    rating: Rating
    found: str


@dataclass(frozen=True)
class Appraisal:
    """The appraisal of a design: its points, and the worst of them."""

    rating: Rating
    points: tuple[Point, ...]


def appraise(
    days: Sequence[tuple[str, int]], *, switches: int, randomised: bool, as_planned: bool, deviations: int
) -> Appraisal:
    """Appraise a design.

    Args:
        days: label and days with a value of all that is compared: each phase, or each condition of an alternation.
        switches: how often the condition changed.
        randomised: whether the switches were drawn, and from what is recorded.
        as_planned: whether the phases had the lengths that were planned.
        deviations: how many departures from the plan were noted.
    """
    shortest, least = min(days, key=lambda entry: entry[1])
    points = (
        Point(
            "Are there three attempts to show an effect at three points in time?",
            "meets" if switches >= ATTEMPTS else "does not meet",
            f"{switches} switches between baseline and treatment",
        ),
        Point(
            "Has all that is compared enough days?",
            "meets" if least >= ENOUGH_DAYS else "meets with reservations" if least >= MIN_DAYS else "does not meet",
            f"{least} days with a value in {shortest}, the fewest ({ENOUGH_DAYS} are enough, {MIN_DAYS} the least)",
        ),
        Point(
            "Was it drawn when the treatment began and ended?",
            "meets" if randomised else "meets with reservations",
            "the drawing is recorded" if randomised else "no drawing is recorded, so nothing rules out a chosen moment",
        ),
        Point(
            "Was the plan kept?",
            "meets" if as_planned and not deviations else "meets with reservations",
            f"{'lengths as planned' if as_planned else 'lengths other than planned'}, {deviations} deviations noted",
        ),
    )
    order: tuple[Rating, ...] = ("does not meet", "meets with reservations", "meets")
    return Appraisal(min((point.rating for point in points), key=order.index), points)
