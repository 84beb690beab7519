"""Appraise a design: phases, days, missing days, randomisation, deviations, in the spirit of the What Works standards.

Ignore p and effects: a strong result does not improve a weak design.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from americano_pipelines.statistics.missing_days import MissingDays

Rating = Literal["meets", "meets with reservations", "does not meet"]
ATTEMPTS, ENOUGH_DAYS, MIN_DAYS = 3, 5, 3
_MAX_MISSING = _MAX_OFF_PLAN = 0.2
# Between the shares of missing days of both conditions.
_SMALL_GAP, _MAX_GAP = 0.1, 0.2


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

    @property
    def shortfall(self) -> str:
        """Where it falls short, in a sentence; empty where it does not."""
        if self.rating == "meets":
            return ""
        reasons = "; ".join(point.found for point in self.points if point.rating == self.rating)
        verb = (
            "does not meet the standards" if self.rating == "does not meet" else "meets the standards with reservations"
        )
        return f"The design {verb}: {reasons}."


@dataclass(frozen=True)
class PlanAdherence:
    """How far the plan was followed.

    Attributes:
        as_planned: whether the phases had the lengths that were planned, without time between them.
        off_plan: share of the planned days that were not under the condition that was drawn for them.
        deviations: how many departures from the plan were noted.
    """

    as_planned: bool
    off_plan: float
    deviations: int


def appraise(
    days: Sequence[tuple[str, int]],
    *,
    switches: int,
    randomised: bool,
    missing: MissingDays,
    adherence: PlanAdherence,
    compared: str = "baseline and treatment",
) -> Appraisal:
    """Appraise a design.

    Args:
        days: label and days with a value of all that is compared: each phase, or each condition of an alternation.
        switches: how often the condition changed.
        randomised: whether the switches were drawn, and from what is recorded.
        missing: days without a value by condition.
        adherence: how far the plan was followed.
        compared: what the switches are between, in words.
    """
    shortest, least = min(days, key=lambda entry: entry[1])
    points = (
        Point(
            "Are there three attempts to show an effect at three points in time?",
            "meets" if switches >= ATTEMPTS else "does not meet",
            f"{_number(switches, 'switch', 'switches')} between {compared}, {ATTEMPTS} are needed",
        ),
        Point(
            "Has all that is compared enough days?",
            "meets" if least >= ENOUGH_DAYS else "meets with reservations" if least >= MIN_DAYS else "does not meet",
            f"{_number(least, 'day', 'days')} with a value in {shortest}, the fewest ({ENOUGH_DAYS} are enough, "
            f"{MIN_DAYS} the least)",
        ),
        Point("Do both conditions have values on their days alike?", _missing_rating(missing), missing.clause),
        Point(
            "Was it drawn when the treatment began and ended?",
            "meets" if randomised else "meets with reservations",
            "the drawing is recorded" if randomised else "no drawing is recorded, so nothing rules out a chosen moment",
        ),
        Point(
            "Was the plan kept?",
            "does not meet"
            if adherence.off_plan > _MAX_OFF_PLAN
            else "meets"
            if adherence.as_planned and not adherence.deviations
            else "meets with reservations",
            f"{'lengths as planned' if adherence.as_planned else 'lengths other than planned'}, "
            f"{_number(adherence.deviations, 'deviation', 'deviations')} noted",
        ),
    )
    order: tuple[Rating, ...] = ("does not meet", "meets with reservations", "meets")
    return Appraisal(min((point.rating for point in points), key=order.index), points)


def _missing_rating(missing: MissingDays) -> Rating:
    if missing.gap > _MAX_GAP:
        return "does not meet"
    unequal = missing.is_unequal or missing.gap > _SMALL_GAP
    return "meets with reservations" if unequal or missing.largest_share > _MAX_MISSING else "meets"


def _number(count: int, singular: str, plural: str) -> str:
    return f"{count} {singular if count == 1 else plural}"
