"""From phases and events to days: windows decide, missing days keep their place, cut days are left out."""

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.research.days import days
from americano_pipelines.research.windows import DAY_US, StatedPhase, timeline

HOUR_US = DAY_US // 24
START = 1_700_000_000_000_000  # not at midnight: days are counted from the first phase's start


def phase(
    label: str, start: float, end: float | None, planned: int | None = None, kind: str = "BASELINE"
) -> StatedPhase:
    """A phase in days since START."""
    ends = None if end is None else START + round(end * DAY_US)
    return StatedPhase(label, kind, START + round(start * DAY_US), ends, planned)


def at(day: float) -> int:
    return START + round(day * DAY_US)


A_B = [phase("a", 0, 3), phase("b", 3, 6, kind="INTERVENTION_A")]


@pytest.mark.parametrize(
    ("last", "protocol_end", "end", "source"),
    [
        (phase("b", 3, 5), at(9), 5, "stated"),
        (phase("b", 3, None, 4), at(9), 9, "protocol"),
        (phase("b", 3, None, 4), None, 7, "planned length"),
    ],
)
def test_an_end_that_is_not_stated_comes_from_what_is(
    last: StatedPhase, protocol_end: int | None, end: float, source: str
) -> None:
    first, second = timeline([last, phase("a", 0, None, 9)], protocol_end).windows

    assert (first.ends_us, first.end_from) == (at(3), "next phase")
    assert (second.ends_us, second.end_from) == (at(end), source)
    assert second.days == end - 3


def test_overlaps_go_to_the_later_phase_and_gaps_to_none() -> None:
    found = timeline([phase("a", 0, 4), phase("b", 3, 6), phase("c", 8, 9)], None)

    assert found.overlaps == (("a", "b"),)
    assert found.gaps == (("b", "c"),)
    assert [window.ends_us for window in found.windows] == [at(3), at(6), at(9)]


def test_withdrawal_is_baseline_and_what_is_neither_is_refused() -> None:
    (window,) = timeline([phase("w", 0, 2, kind="WITHDRAWAL")], None).windows
    assert window.condition == "baseline"
    with pytest.raises(AnalysisError, match="'WASHOUT', which is neither"):
        timeline([phase("w", 0, 2, kind="WASHOUT")], None)
    with pytest.raises(AnalysisError, match="has no end"):
        timeline([phase("w", 0, None)], None)
    with pytest.raises(AnalysisError, match="ends before it begins"):
        timeline([phase("w", 2, 1)], None)


def test_a_day_is_the_mean_of_its_events_and_a_day_without_any_keeps_its_place() -> None:
    times = [at(0), at(0.5), at(0.999), at(2.5), at(3), at(5.9)]

    found = days(timeline(A_B, None), times, [1.0, 2.0, 6.0, 4.0, 10.0, 20.0], [None] * 6)

    assert found.values == pytest.approx([3, np.nan, 4, 10, np.nan, 20], nan_ok=True)
    assert found.events.tolist() == [3, 0, 1, 1, 0, 1]
    assert found.phase.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.missing == (1, 4)
    assert [(one.label, one.events, one.mean) for one in found.described] == [("a", 4, 3.25), ("b", 2, 15.0)]


def test_a_day_in_which_a_phase_switches_is_left_out_and_counted() -> None:
    found = days(timeline([phase("a", 0, 2.5), phase("b", 2.5, 5, kind="INTERVENTION_A")], None),
                 [at(2.2), at(2.7), at(3.5), at(0.1)], [1.0, 2.0, 3.0, 4.0], [None] * 4)  # fmt: skip

    assert found.switched == (2,)
    assert np.isnan(found.values[2])
    assert found.phase.tolist() == [0, 0, -1, 1, 1]
    assert found.missing == (1, 4), "a day left out is not called missing"
    assert found.described[0].events == 2, "its events still describe their phase"


def test_what_does_not_count_is_counted() -> None:
    times = [at(-1), at(0.1), at(0.2), at(0.3), at(1.1), at(6.5), at(3.1)]
    outcomes = [1.0, None, float("nan"), float("inf"), 5.0, 7.0, 2.0]
    labels = ["a", "a", None, "b", "b", "b", "b"]

    found = days(timeline(A_B, None), times, outcomes, labels)

    assert (found.outside, found.without_value, found.not_finite, found.mislabelled) == (2, 1, 2, 2)
    assert found.values[1] == 5, "the window decides, not the label"
    assert np.isnan(found.values[0])


def test_the_lengths_of_phases_are_whole_days_that_add_up() -> None:
    resolved = timeline([phase("a", 0, 3), phase("b", 4, 6), phase("c", 6, 7.5)], None)

    assert days(resolved, [], [], []).lengths(resolved.windows) == [4, 2, 2]


def test_no_phases_and_uneven_arrays_are_refused() -> None:
    with pytest.raises(AnalysisError, match="no phases"):
        days(timeline([], None), [], [], [])
    with pytest.raises(AnalysisError, match="one length"):
        days(timeline(A_B, None), [1], [], [])
