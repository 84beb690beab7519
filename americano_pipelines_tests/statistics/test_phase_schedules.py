"""Schedules of phases: counted, listed and drawn alike."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from americano_pipelines.demo.data.design import admissible_splits
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.phase_schedules import PhaseSchedule

ABAB = (False, True, False, True)


@st.composite
def schedules(draw: st.DrawFn) -> PhaseSchedule:
    phases = draw(st.integers(2, 5))
    low = draw(st.lists(st.integers(1, 4), min_size=phases, max_size=phases))
    high = [shortest + draw(st.integers(0, 5)) for shortest in low]
    total = draw(st.integers(sum(low), sum(high)))
    return PhaseSchedule(total, tuple(phase % 2 == 1 for phase in range(phases)), tuple(low), tuple(high))


@given(schedules(), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_the_list_has_each_split_within_the_bounds_once_and_in_order(schedule: PhaseSchedule, size: int) -> None:
    ranges = [range(low, high + 1) for low, high in zip(schedule.shortest, schedule.longest, strict=True)]
    expected = [lengths for lengths in product(*ranges) if sum(lengths) == schedule.total]

    blocks = list(schedule.blocks(size))

    assert [tuple(row) for block in blocks for row in block.tolist()] == expected
    assert schedule.count == len(expected)
    assert all(len(block) < 2 * size + 1 for block in blocks)
    assert all(schedule.contains(lengths) for lengths in expected)


def test_the_demo_lists_the_same() -> None:
    schedule = PhaseSchedule(56, ABAB, (7,) * 4, (21,) * 4)

    assert [tuple(row) for block in schedule.blocks(500) for row in block] == admissible_splits(56, 7, 21)


@pytest.mark.parametrize(("total", "shortest", "count"), [(40, 5, 1771), (35, 8, 20), (23, 5, 20), (20, 5, 1)])
def test_known_numbers_of_assignments(total: int, shortest: int, count: int) -> None:
    assert PhaseSchedule(total, ABAB, (shortest,) * 4, (total,) * 4).count == count


@pytest.mark.parametrize("lengths", [(7, 7, 7, 35), (6, 16, 17, 17), (14, 14, 14, 13), (14, 14, 28)])
def test_what_could_not_have_been_drawn_is_not_contained(lengths: tuple[int, ...]) -> None:
    assert not PhaseSchedule(56, ABAB, (7,) * 4, (21,) * 4).contains(lengths)


def test_every_split_is_drawn_as_often_as_any_other() -> None:
    schedule = PhaseSchedule(16, ABAB, (2,) * 4, (6,) * 4)
    drawn = schedule.draw(np.random.default_rng(5), 20_000)

    splits = [tuple(row) for row in drawn.tolist()]
    counts = [splits.count(tuple(row)) for block in schedule.blocks(1000) for row in block.tolist()]
    assert sum(counts) == 20_000
    assert chisquare(counts).pvalue > 0.001


def test_the_days_that_a_level_needs_are_found_or_said_to_be_none() -> None:
    assert PhaseSchedule(20, ABAB, (5,) * 4, (30,) * 4).days_for(20) == 23
    assert PhaseSchedule(20, ABAB, (5,) * 4, (6,) * 4).days_for(20) is None


@pytest.mark.parametrize(
    ("treated", "low", "high"),
    [
        ((True, True), (1, 1), (5, 5)),
        ((False, True), (0, 1), (5, 5)),
        ((False, True), (3, 1), (2, 5)),
        (ABAB, (1,), (5,)),
    ],
)
def test_what_is_no_schedule_is_refused(treated: tuple[bool, ...], low: tuple[int, ...], high: tuple[int, ...]) -> None:
    with pytest.raises(AnalysisError):
        PhaseSchedule(6, treated, low, high)


def test_a_set_too_large_to_number_is_drawn_from_too() -> None:
    schedule = PhaseSchedule(900, (False, True) * 8, (14,) * 16, (90,) * 16)
    drawn = schedule.draw(np.random.default_rng(4), 20_000)

    assert schedule.count > 2**64
    assert all(schedule.contains(lengths) for lengths in drawn[:200].tolist())
    # Every phase has the same bounds, so none is longer than another on the average.
    off = drawn.mean(axis=0) - 900 / 16
    assert np.abs(off).max() < 4 * drawn.std() / np.sqrt(20_000)
    # Of the first lengths, the exact share of each: the ways of the other phases to make up the rest.
    ways = [PhaseSchedule(900 - days, (False, True, *(False, True) * 6, True), (14,) * 15, (90,) * 15).count
            for days in range(14, 74)]  # fmt: skip
    shares = np.array([way / schedule.count for way in ways])
    counts = np.bincount(drawn[:, 0], minlength=201)[14:74]
    rest = 20_000 - counts.sum()
    assert chisquare([*counts, rest], [*(20_000 * shares), 20_000 * (1 - shares.sum())]).pvalue > 0.001


def test_what_admits_nothing_cannot_be_drawn_from() -> None:
    schedule = PhaseSchedule(30, ABAB, (8,) * 4, (9,) * 4)

    assert schedule.count == 0
    assert sum(len(block) for block in schedule.blocks(10)) == 0
    with pytest.raises(AnalysisError, match="no phases within the bounds make 30 days"):
        schedule.draw(np.random.default_rng(1), 5)
