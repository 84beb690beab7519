"""Differences of neighbouring days of an alternation, by hand."""

import numpy as np
import pytest

from americano_pipelines.statistics.alternation_measures import neighbour_differences

NAN = float("nan")


def test_neighbouring_days_are_compared() -> None:
    # A day of a third condition is no part of it.
    treated = np.array([1, 0, 0, NAN, 1, 0, 1])
    values = np.array([5, 1, 3, 99, 8, 4, 6.0])

    measures = neighbour_differences(values, treated)

    # Between days 1 and 5 both are known: A is 5 + 3/4, 5 + 6/4, 8, 7; B is 1, 3, 3 + 2/3, 4.
    assert measures.aliv == pytest.approx(np.mean([4.75, 3.5, 8 - 11 / 3, 3]))
    assert measures.aliv_days == 4


def test_days_without_a_value_have_no_neighbours() -> None:
    treated = np.array([1, 0, 1, 0.0])

    assert neighbour_differences(np.array([3, NAN, NAN, 1.0]), treated).aliv is None
    assert neighbour_differences(np.array([3, NAN, 2, NAN]), treated).aliv is None
