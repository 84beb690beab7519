"""Digits of numbers in an outcome's units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from americano_pipelines.statistics.outcome_digits import decimals_for, effect_texts, format_outcome, shown_p


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

    assert [format_outcome(value, decimals, sign=True) for value in values if value is not None] == shown


@given(st.floats(1e-40, 1e40) | st.floats(-1e40, -1e-40), st.floats(-1e40, 1e40))
def test_what_is_not_0_never_reads_as_0(value: float, other: float) -> None:
    assert float(format_outcome(value, decimals_for((value, other)), sign=True)) != 0


def test_an_effect_and_its_interval_have_as_many_digits() -> None:
    assert effect_texts(7.834, 6.15, 13.9) == ("+7.83", "6.15 to 13.90")
    assert effect_texts(-0.0312, None, 0.5) == ("-0.031", "unbounded to 0.500")
    assert effect_texts(1200.0, None, None) == ("+1200", "")
    assert effect_texts(None, 1.0, 2.0) == ("", "")


@pytest.mark.parametrize(
    ("p", "shown"), [(1.0, "1.000"), (0.34, ".340"), (0.0123, ".012"), (0.00044, ".0004"), (0.00001, "1e-05")]
)
def test_p_is_shown_as_papers_print_it(p: float, shown: str) -> None:
    assert shown_p(p) == shown
