"""What could have been drawn: counted, listed and drawn alike."""

from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from americano_pipelines.demo.design import admissible_splits
from americano_pipelines.errors import AnalysisError
from americano_pipelines.research.alternation import Alternation
from americano_pipelines.research.schedules import PhaseSchedule

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

    found = [tuple(row) for row in drawn.tolist()]
    counts = [found.count(tuple(row)) for block in schedule.blocks(1000) for row in block.tolist()]
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


SCHEMES = [Alternation(8, 4, 8, 8), Alternation(8, 4, 8, 2), Alternation(9, 3, 9, 3), Alternation(8, 1, 2, 8),
           Alternation(8, 2, 4, 2), Alternation(12, 1, 3, 4)]  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_a_scheme_lists_each_order_that_it_admits_once(scheme: Alternation) -> None:
    def admitted(order: tuple[bool, ...]) -> bool:
        parts = [order[start : start + scheme.block] for start in range(0, scheme.days, scheme.block)]
        runs = [len(list(run)) for _, run in groupby(order)]
        return all(sum(part) == scheme.treated_days for part in parts) and max(runs) <= scheme.longest_run

    expected = [order for order in product((False, True), repeat=scheme.days) if admitted(order)]

    assert [tuple(row) for block in scheme.blocks(7) for row in block.tolist()] == expected
    assert scheme.count == len(expected)
    for order in product((False, True), repeat=scheme.days):
        assert scheme.contains(order) is admitted(order)
    assert scheme.mirrored is all(tuple(not day for day in order) in set(expected) for order in expected)


def test_every_order_is_drawn_as_often_as_any_other() -> None:
    scheme = Alternation(8, 4, 8, 2)
    found = [tuple(row) for row in scheme.draw(np.random.default_rng(2), 17_000).tolist()]
    counts = [found.count(tuple(row)) for block in scheme.blocks(100) for row in block.tolist()]

    assert sum(counts) == 17_000
    assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("parts", [(9, 2, 4, 9), (8, 0, 8, 8), (8, 8, 8, 8), (8, 4, 8, 0)])
def test_what_is_no_scheme_is_refused(parts: tuple[int, int, int, int]) -> None:
    with pytest.raises(AnalysisError):
        Alternation(*parts)
