"""The piecewise line: where its columns begin, and days that are too few for it."""

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.segmented_regression import design_matrix, usable_days


def test_a_change_begins_at_the_first_whole_day_of_its_phase() -> None:
    # Day 2 was cut by the switch and belongs to no phase.
    design = design_matrix(np.array([0, 0, -1, 1, 1]), 2)

    assert design[:, 1].tolist() == [0, 1, 2, 3, 4]
    assert design[:, 2].tolist() == [0, 0, 0, 1, 1]
    assert design[:, 3].tolist() == [0, 0, 0, 0, 1], "0 on the first treated day, so that the level is the jump there"


def test_days_without_a_value_or_a_phase_are_not_used() -> None:
    values = np.array([1.0, 2, np.nan, 3, 9, 4, 5, 6])

    used = usable_days(values, np.array([0, 0, 0, 0, -1, 1, 1, 1]), ["a", "b"])

    assert used.tolist() == [True, True, False, True, False, True, True, True]


@pytest.mark.parametrize("constant", [1.0, 0.1, 200 / 3])
def test_an_outcome_that_never_varies_is_refused(constant: float) -> None:
    with pytest.raises(AnalysisError, match="the same on every day"):
        usable_days(np.full(20, constant), np.repeat([0, 1], 10), ["a", "b"])
