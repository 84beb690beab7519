"""Windows of phases: ends that are not stated, overlaps, gaps, and refusals."""

import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.phase_windows import StatedPhase, timeline
from americano_pipelines_tests.statistics.phases import at, phase


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
    resolved = timeline([last, phase("a", 0, None, 9)], protocol_end)
    first, second = resolved.windows

    assert (first.ends_us, first.end_from) == (at(3), "next phase")
    assert (second.ends_us, second.end_from) == (at(end), source)
    assert resolved.days_of(second) == end - 3


def test_overlaps_go_to_the_later_phase_and_gaps_to_none() -> None:
    phases = timeline([phase("a", 0, 4), phase("b", 3, 6), phase("c", 8, 9)], None)

    assert phases.overlaps == (("a", "b"),)
    assert phases.gaps == (("b", "c"),)
    assert [window.ends_us for window in phases.windows] == [at(3), at(6), at(9)]


def test_the_last_second_of_a_day_is_no_gap_and_cuts_no_day() -> None:
    almost = 1e-3 / 86_400
    phases = timeline([phase("a", 0, 3 - almost), phase("b", 3, 6 - almost)], None)

    assert [window.ends_us for window in phases.windows] == [at(3), at(6)]
    assert phases.gaps == ()
    hours = timeline([phase("a", 0, 3 - 0.2), phase("b", 3, 6 - 0.2)], None)
    assert [window.ends_us for window in hours.windows] == [at(2.8), at(5.8)]
    assert hours.gaps == (("a", "b"),)


@pytest.mark.parametrize("days", [-3, 0, 2**31 - 1])
def test_a_planned_length_that_is_none_is_refused(days: int) -> None:
    with pytest.raises(AnalysisError, match=f"'a' is planned for {days} days"):
        timeline([phase("a", 0, 3, days)], None)


def test_withdrawal_is_baseline_and_what_is_neither_is_refused() -> None:
    (window,) = timeline([phase("w", 0, 2, kind="WITHDRAWAL")], None).windows
    assert window.condition == "baseline"
    with pytest.raises(AnalysisError, match="'WASHOUT', which is neither"):
        timeline([phase("w", 0, 2, kind="WASHOUT")], None)
    with pytest.raises(AnalysisError, match="has no end"):
        timeline([phase("w", 0, None)], None)
    with pytest.raises(AnalysisError, match="ends before it begins"):
        timeline([phase("w", 2, 1)], None)
    with pytest.raises(AnalysisError, match="or with its beginning"):
        timeline([phase("w", 2, 2)], None)
