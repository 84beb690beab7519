"""From events to days: windows decide, missing days keep their place, cut days are left out."""

import re

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.daily_values import days
from americano_pipelines.statistics.phase_windows import timeline
from americano_pipelines_tests.statistics.phases import at, phase

A_B = [phase("a", 0, 3), phase("b", 3, 6, kind="INTERVENTION_A")]


def test_a_day_is_the_mean_of_its_events_and_empty_days_keep_their_place() -> None:
    times = [at(0), at(0.5), at(0.999), at(2.5), at(3), at(5.9)]

    daily = days(timeline(A_B, None), times, [1.0, 2.0, 6.0, 4.0, 10.0, 20.0], [None] * 6)

    assert daily.values == pytest.approx([3, np.nan, 4, 10, np.nan, 20], nan_ok=True)
    assert daily.events.tolist() == [3, 0, 1, 1, 0, 1]
    assert daily.phase.tolist() == [0, 0, 0, 1, 1, 1]
    assert daily.missing == (1, 4)
    assert [(described.label, described.events, described.mean) for described in daily.described] == [
        ("a", 4, 3.25),
        ("b", 2, 15.0),
    ]
    assert daily.described[1].sd == pytest.approx(50**0.5)


def test_a_day_in_which_a_phase_switches_is_left_out_and_counted() -> None:
    daily = days(timeline([phase("a", 0, 2.5), phase("b", 2.5, 5, kind="INTERVENTION_A")], None),
                 [at(2.2), at(2.7), at(3.5), at(0.1)], [1.0, 2.0, 3.0, 4.0], [None] * 4)  # fmt: skip

    assert daily.switched == (2,)
    assert np.isnan(daily.values[2])
    assert daily.phase.tolist() == [0, 0, -1, 1, 1]
    assert daily.missing == (1, 4), "a day left out is not called missing"
    assert daily.described[0].events == 2, "its events still describe their phase"


def test_a_day_in_which_a_phase_begins_keeps_a_value_for_other_assignments() -> None:
    windows = timeline([phase("a", 0, 1.5), phase("b", 1.75, 3.5), phase("c", 4.25, 5.5)], None)
    times = [at(0.1), at(1.2), at(1.6), at(1.9), at(2.5), at(3.2), at(3.8), at(4.1), at(4.9), at(5.2)]

    daily = days(windows, times, [float(2**n) for n in range(10)], [None] * 10)

    assert windows.cut == (False, True, True)
    assert daily.with_switches == pytest.approx([1, (2 + 8) / 2, 16, np.nan, 256, np.nan], nan_ok=True)
    assert daily.values == pytest.approx([1, np.nan, 16, np.nan, np.nan, np.nan], nan_ok=True)
    assert daily.switched == (1, 3, 4, 5)


def test_what_does_not_count_is_counted() -> None:
    times = [at(-1), at(0.1), at(0.2), at(0.3), at(1.1), at(6), at(3.1), at(0.4), at(6.5)]
    outcomes = [1.0, None, float("nan"), float("inf"), 5.0, 7.0, 2.0, 8.0, float("nan")]
    labels = ["a", "a", None, "b", "b", "b", "b", "a", "b"]

    daily = days(timeline(A_B, None), times, outcomes, labels)

    assert (daily.outside, daily.without_value, daily.not_finite, daily.mislabelled) == (3, 1, 2, 2)
    assert daily.values[1] == 5, "the window decides, not the label"
    assert daily.values[0] == 8, "what is not finite does not spoil the day"


def test_the_lengths_of_phases_are_whole_days_that_add_up() -> None:
    resolved = timeline([phase("a", 0, 3), phase("b", 4, 6), phase("c", 6, 7.5)], None)

    assert days(resolved, [], [], []).lengths(resolved) == [4, 2, 2]


def test_no_phases_and_uneven_arrays_are_refused() -> None:
    with pytest.raises(AnalysisError, match="no phases"):
        days(timeline([], None), [], [], [])
    with pytest.raises(AnalysisError, match="one length"):
        days(timeline(A_B, None), [1], [], [])


@pytest.mark.parametrize("value", [1e-310, 1e305, -1e305])
def test_an_outcome_that_cannot_be_computed_with_is_named(value: float) -> None:
    windows, times = timeline(A_B, None), [at(0), at(4.5)]

    with pytest.raises(AnalysisError, match=re.escape(f"{value:g} cannot be computed with, an outcome on day 4: ")):
        days(windows, times, [0.0, value], [None] * 2)

    assert days(windows, [*times, at(9)], [0.0, -1e49, value], [None] * 3).values[4] == -1e49, "outside all phases"
