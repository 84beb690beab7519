"""The appraisal of a design: each point by itself, the worst for the whole, and never a result."""

import inspect
from typing import Any

import pytest

from americano_pipelines.statistics.design_appraisal import PlanAdherence, appraise
from americano_pipelines.statistics.missing_days import MissingDays

GOOD = {
    "days": [("a", 8), ("b", 9), ("c", 5), ("d", 6)],
    "switches": 3,
    "randomised": True,
    "missing": MissingDays(28, 0, 28, 0, 1.0, 0.01, 0.01),
    "adherence": PlanAdherence(as_planned=True, off_plan=0.0, deviations=0),
}


@pytest.mark.parametrize(
    ("changed", "rating"),
    [
        ({}, "meets"),
        ({"switches": 2}, "does not meet"),
        ({"days": [("a", 8), ("b", 4)]}, "meets with reservations"),
        ({"days": [("a", 8), ("b", 2)]}, "does not meet"),
        ({"randomised": False}, "meets with reservations"),
        ({"adherence": PlanAdherence(as_planned=False, off_plan=0.02, deviations=0)}, "meets with reservations"),
        ({"adherence": PlanAdherence(as_planned=False, off_plan=0.3, deviations=0)}, "does not meet"),
        ({"adherence": PlanAdherence(as_planned=True, off_plan=0.0, deviations=1)}, "meets with reservations"),
        ({"missing": MissingDays(28, 2, 28, 1, 0.7, 0.03, 0.03)}, "meets"),
        ({"missing": MissingDays(28, 4, 28, 0, 0.2, 0.03, 0.03)}, "meets with reservations"),
        ({"missing": MissingDays(28, 2, 28, 0, 0.04, 0.03, 0.03)}, "meets with reservations"),
        ({"missing": MissingDays(28, 8, 28, 8, 1.0, 0.5, 0.5)}, "meets with reservations"),
        ({"missing": MissingDays(28, 8, 28, 0, 0.01, 0.5, 0.5)}, "does not meet"),
        ({"missing": MissingDays(28, 0, 28, 8, None, None, None)}, "does not meet"),
    ],
)
def test_the_worst_point_is_the_rating(changed: dict[str, Any], rating: str) -> None:
    assert appraise(**GOOD | changed).rating == rating


def test_two_phases_are_too_few_attempts_and_the_fewest_days_are_named() -> None:
    appraisal = appraise(**GOOD | {"days": [("a", 9), ("b", 4)], "switches": 1})

    assert appraisal.rating == "does not meet"
    assert [point.rating for point in appraisal.points] == [
        "does not meet",
        "meets with reservations",
        "meets",
        "meets",
        "meets",
    ]
    assert appraisal.shortfall == (
        "The design does not meet the standards: 1 switch between baseline and treatment, 3 are needed."
    )
    assert appraise(**GOOD).shortfall == ""
    assert appraise(**GOOD | {"randomised": False}).shortfall.startswith("The design meets the standards with reserv")
    assert "4 days with a value in b" in appraisal.points[1].found


def test_no_result_can_get_into_it() -> None:
    assert set(inspect.signature(appraise).parameters) == {
        "days", "switches", "randomised", "missing", "adherence", "compared"
    }  # fmt: skip
