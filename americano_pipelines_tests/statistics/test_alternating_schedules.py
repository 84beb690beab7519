"""Schedules that alternate from day to day: counted, listed and drawn alike."""

from itertools import groupby, product
from math import comb

import numpy as np
import pytest
from scipy.stats import chisquare

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation

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


def test_every_order_is_drawn_as_often_as_any_other() -> None:
    scheme = Alternation(8, 4, 8, 2)
    orders = [tuple(row) for row in scheme.draw(np.random.default_rng(2), 17_000).tolist()]
    counts = [orders.count(tuple(row)) for block in scheme.blocks(100) for row in block.tolist()]

    assert sum(counts) == 17_000
    assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("parts", [(9, 2, 4, 9), (8, 0, 8, 8), (8, 8, 8, 8), (8, 4, 8, 0)])
def test_what_is_no_scheme_is_refused(parts: tuple[int, int, int, int]) -> None:
    with pytest.raises(AnalysisError):
        Alternation(*parts)


def test_a_set_too_large_to_number_is_drawn_from_too() -> None:
    scheme = Alternation(100, 50, 100, 100)
    orders = scheme.draw(np.random.default_rng(3), 4000)

    assert scheme.count == comb(100, 50) > 2**64
    assert all(scheme.contains(order) for order in orders.tolist())
    # Each day is treated in half of all orders, and a day and its neighbour both are in 49/99 of those.
    assert np.abs(orders.mean(axis=0) - 0.5).max() < 4 * 0.5 / np.sqrt(4000)
    both = (orders[:, 0::2] & orders[:, 1::2]).mean()
    assert both == pytest.approx(0.5 * 49 / 99, abs=0.004)
