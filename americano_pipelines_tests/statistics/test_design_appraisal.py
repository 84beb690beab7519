"""The appraisal of a design: each point by itself, the worst for the whole, and never a result."""

import inspect
from typing import Any

import pytest

from americano_pipelines.statistics.design_appraisal import appraise

GOOD = {
    "days": [("a", 8), ("b", 9), ("c", 5), ("d", 6)],
    "switches": 3,
    "randomised": True,
    "as_planned": True,
    "deviations": 0,
}


@pytest.mark.parametrize(
    ("changed", "rating"),
    [
        ({}, "meets"),
        ({"switches": 2}, "does not meet"),
        ({"days": [("a", 8), ("b", 4)]}, "meets with reservations"),
        ({"days": [("a", 8), ("b", 2)]}, "does not meet"),
        ({"randomised": False}, "meets with reservations"),
        ({"as_planned": False}, "meets with reservations"),
        ({"deviations": 1}, "meets with reservations"),
    ],
)
def test_the_worst_point_is_the_rating(changed: dict[str, Any], rating: str) -> None:
    assert appraise(**GOOD | changed).rating == rating


def test_two_phases_are_too_few_attempts_and_the_fewest_days_are_named() -> None:
    appraisal = appraise([("a", 9), ("b", 4)], switches=1, randomised=True, as_planned=True, deviations=0)

    assert appraisal.rating == "does not meet"
    assert [point.rating for point in appraisal.points] == [
        "does not meet",
        "meets with reservations",
        "meets",
        "meets",
    ]
    assert "4 days with a value in b" in appraisal.points[1].found


def test_no_result_can_get_into_it() -> None:
    assert set(inspect.signature(appraise).parameters) == {
        "days", "switches", "randomised", "as_planned", "deviations"
    }  # fmt: skip
