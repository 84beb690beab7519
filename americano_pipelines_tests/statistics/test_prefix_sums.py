"""Differences of means by prefix sums are those of plain means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from americano_pipelines.statistics.prefix_sums import PrefixSums, tolerance

NAN = float("nan")


@given(st.lists(st.integers(-1000, 1000).map(float) | st.just(NAN), min_size=1, max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_means_are_those_of_the_days_that_have_a_value(days: list[float], data: st.DataObject) -> None:
    values = np.array(days)
    start = data.draw(st.integers(0, values.size - 1))
    end = data.draw(st.integers(start + 1, values.size))
    has_value = ~np.isnan(values)

    difference = PrefixSums.of(values).means(np.array([start]), np.array([end]))[0]

    part = values[start:end][has_value[start:end]]
    assert (
        np.isnan(difference)
        if part.size == 0
        else difference == pytest.approx(part.mean() - values[has_value].mean(), abs=1e-9)
    )


def test_a_far_origin_costs_no_digits() -> None:
    values = np.array([0.25, 0.5, 1.0, 0.75] * 250)
    near, far = (PrefixSums.of(values + origin) for origin in (0.0, 1e9))
    starts, ends = np.arange(0, 990), np.arange(10, 1000)

    assert np.abs(near.means(starts, ends) - far.means(starts, ends)).max() < 1e-9


def test_a_tie_depends_on_the_scale_of_the_values_and_not_on_their_origin() -> None:
    values = np.array([1.0, 3.0, NAN, 5.0])

    assert tolerance(values) == pytest.approx(2e-9)
    assert tolerance(1000 * values + 7e6) == pytest.approx(2e-6)
    assert tolerance(np.array([NAN])) == 0
