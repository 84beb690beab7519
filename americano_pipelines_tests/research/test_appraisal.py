"""The appraisal of a design: each point by itself, the worst for the whole, and never a result."""

import inspect
from typing import Any

import pytest

from americano_pipelines.research.appraisal import appraise

LABELS = ["a", "b", "c", "d"]
ABAB = ["baseline", "treatment", "baseline", "treatment"]


GOOD = {"days": [8, 9, 5, 6], "randomised": True, "as_planned": True, "deviations": 0}


@pytest.mark.parametrize(
    ("changed", "rating"),
    [
        ({}, "meets"),
        ({"days": [8, 9, 4, 6]}, "meets with reservations"),
        ({"days": [8, 9, 2, 6]}, "does not meet"),
        ({"randomised": False}, "meets with reservations"),
        ({"as_planned": False}, "meets with reservations"),
        ({"deviations": 1}, "meets with reservations"),
    ],
)
def test_the_worst_point_is_the_rating(changed: dict[str, Any], rating: str) -> None:
    assert appraise(LABELS, ABAB, **GOOD | changed).rating == rating  # type: ignore[arg-type]


def test_two_phases_are_too_few_attempts_and_the_fewest_days_are_named() -> None:
    found = appraise(["a", "b"], ["baseline", "treatment"], [9, 4], randomised=True, as_planned=True, deviations=0)

    assert found.rating == "does not meet"
    assert [point.rating for point in found.points] == ["does not meet", "meets with reservations", "meets", "meets"]
    assert "4 days with a value in b" in found.points[1].found


@pytest.mark.parametrize("conditions", [ABAB[:3], ["baseline", "baseline", "treatment", "baseline"]])
def test_an_attempt_is_a_switch_between_conditions(conditions: list[Any]) -> None:
    days = [9] * len(conditions)

    found = appraise(LABELS[: len(days)], conditions, days, randomised=True, as_planned=True, deviations=0)

    assert found.points[0].rating == "does not meet"
    assert found.points[0].found.startswith("2 switches")


def test_no_result_can_get_into_it() -> None:
    assert set(inspect.signature(appraise).parameters) == {
        "labels", "conditions", "days", "randomised", "as_planned", "deviations"
    }  # fmt: skip
