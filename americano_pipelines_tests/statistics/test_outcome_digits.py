"""Digits of numbers in an outcome's units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from americano_pipelines.statistics.outcome_digits import decimals_for, in_units


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((7.8349, 6.15, 13.904), ["+7.83", "+6.15", "+13.90"]),
        ((0.0042, -0.031), ["+0.0042", "-0.0310"]),
        ((0.0042, 31.5), ["+0.0042", "+31.50"]),
        ((123456.7, 0.5), ["+123457", "+0.5"]),
        ((0.0, None), ["+0.00"]),
        ((0.0, 3e-7), ["+0", "+3e-07"]),
        ((float("nan"), 2.0), ["+nan", "+2.00"]),
    ],
)
def test_digits_suit_the_largest_number_and_none_reads_as_0(values: tuple[float, ...], shown: list[str]) -> None:
    decimals = decimals_for(values)

    assert [in_units(value, decimals, sign=True) for value in values if value is not None] == shown


@given(st.floats(1e-40, 1e40) | st.floats(-1e40, -1e-40), st.floats(-1e40, 1e40))
def test_what_is_not_0_never_reads_as_0(value: float, other: float) -> None:
    assert float(in_units(value, decimals_for((value, other)), sign=True)) != 0
