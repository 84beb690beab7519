"""Count, list and draw the schedules of designs that alternate treatments from day to day."""

# Schemes: a number of treatment days in any order, the same within blocks, and no run longer than a bound.
#
# **Days that are held** are under another condition, before, after or amid the days that are compared. They keep their
# place under every assignment and have no part in the statistic; a block is counted without them, and a run ends there.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.prefix_sums import PrefixSums
from americano_pipelines.statistics.recorded_fields import WHERE_USED

Orders = NDArray[np.bool_]
"""Whether each day is treated, shape (assignments, days); a day that is held is not."""

State = tuple[int, int, bool]
"""Treatment days so far in the block, days in a row under the last day's condition, whether that was treatment."""


@dataclass(frozen=True)
class Alternation:
    """Every order of treatment and baseline days that a scheme admits, equally likely.

    Attributes:
        days: number of days, those that are held included.
        treated_days: treatment days among them; within each block, if there are blocks.
        block: days of a block that are compared; all of these when there are no blocks.
        longest_run: most days in a row under one condition; the whole when there is no bound.
        held: whether each day is held; empty when none is.
    """

    days: int
    treated_days: int
    block: int
    longest_run: int
    held: tuple[bool, ...] = field(default=(), metadata=WHERE_USED)

    def __post_init__(self) -> None:
        """Refuse what is no scheme.

        Raises:
            AnalysisError: the parts do not fit together.
        """
        if self._held.size != self.days:
            raise AnalysisError("a scheme says of each day whether it is held")
        compared = int((~self._held).sum())
        if self.block < 1 or not compared or compared % self.block:
            raise AnalysisError(f"{compared} days are not a whole number of blocks of {self.block}")
        if not 0 < self.treated_days < self.block:
            raise AnalysisError("a block needs treatment and baseline days")
        if self.count == 0:
            raise AnalysisError(f"no order has runs of at most {self.longest_run} days")

    @cached_property
    def count(self) -> int:
        """How many there are."""
        return self._ways[0].get((0, 0, False), 0)

    def fits(self, order: Sequence[int]) -> bool:
        """Whether this is an order of so many days, admitted or not."""
        return len(order) == self.days

    def contains(self, order: Sequence[int]) -> bool:
        """Whether this order could have been drawn."""
        if not self.fits(order):
            return False
        state = (0, 0, False)
        for day, treated in enumerate(order):
            following = self._step(day, state, treated=bool(treated))
            if following is None:
                return False
            state = following
        return True

    def blocks(self, size: int) -> Iterator[Orders]:
        """All of them in order, baseline before treatment, at most `size` at a time."""
        for start in range(0, self.count, size):
            yield self._orders_of_ranks(np.arange(start, min(start + size, self.count), dtype=np.int64))

    def draw(self, generator: np.random.Generator, number: int) -> Orders:
        """Draw independently, each as likely as any other.

        Day by day, a condition in proportion to the ways to go on from it.
        """
        # Whole numbers of any size, divided once: the share is right to the last bit.
        return self._build(number, lambda members, baseline, ways: generator.random(members.size) >= baseline / ways)

    def treatment_indicator(self, order: Sequence[int]) -> NDArray[np.float64]:
        """1 on treatment days, 0 on baseline days, NaN on days that are held; shape (days,)."""
        return np.where(self._held, np.nan, np.array(order, dtype=np.float64))

    def contrasts(self, prefix: PrefixSums, orders: Orders) -> NDArray[np.float64]:
        """Mean of treatment days minus mean of baseline days, NaN where one of them has no value.

        Args:
            prefix: prefix sums of the days' values, of one series or several.
            orders: assignments.

        Returns:
            Shape (assignments,), or (series, assignments); in outcome units.
        """
        values, present = (np.diff(days) * ~self._held for days in (prefix.sums, prefix.numbers.astype(np.float64)))
        treated = orders.astype(np.float64)
        sums, numbers = ((treated @ days[..., np.newaxis])[..., 0] for days in (values, present))
        others, rest = (days.sum(axis=-1, keepdims=True) for days in (values, present))
        with np.errstate(invalid="ignore", divide="ignore"):
            result: NDArray[np.float64] = sums / np.where(numbers == 0, np.nan, numbers) - (others - sums) / np.where(
                numbers == rest, np.nan, rest - numbers
            )
        return result

    @property
    def compared_days(self) -> NDArray[np.bool_]:
        """Whether each day is compared; shape (days,)."""
        return ~self._held

    @cached_property
    def _held(self) -> NDArray[np.bool_]:
        return np.array(self.held or (False,) * self.days, dtype=np.bool_)

    @cached_property
    def _places(self) -> list[int | None]:
        """The place of each day in its block, None for a day that is held."""
        before: list[int] = (np.cumsum(self.compared_days) - self.compared_days).tolist()
        return [None if held else position % self.block for held, position in zip(self._held, before, strict=True)]

    @cached_property
    def _ways(self) -> list[dict[State, int]]:
        """By day and state: ways to go on to the end."""
        reachable: list[set[State]] = [{(0, 0, False)}]
        for day in range(self.days):
            steps = (self._step(day, state, treated=t) for state in reachable[day] for t in (False, True))
            reachable.append({state for state in steps if state is not None})
        ways: list[dict[State, int]] = [{} for _ in range(self.days)] + [dict.fromkeys(reachable[-1], 1)]
        for day in range(self.days - 1, -1, -1):
            for state in reachable[day]:
                following = (self._step(day, state, treated=t) for t in (False, True))
                ways[day][state] = sum(ways[day + 1][after] for after in following if after is not None)
        return ways

    def _step(self, day: int, state: State, *, treated: bool) -> State | None:
        """The state after a day under a condition, None when the scheme does not admit it."""
        used, run, last = state
        position = self._places[day]
        if position is None:
            return None if treated else (used, 0, False)
        used += treated
        if self.longest_run >= self.days:  # runs make no difference, and would only multiply the states
            run, treated_last = 0, False
        else:
            run, treated_last = (run + 1 if run and treated == last else 1), treated
        left = self.block - 1 - position
        if run > self.longest_run or used > self.treated_days or used + left < self.treated_days:
            return None
        return (0 if left == 0 else used, run, treated_last)

    def _orders_of_ranks(self, ranks: NDArray[np.int64]) -> Orders:
        """The orders of these ranks."""
        rest = ranks.copy()

        def choose_by_rank(members: NDArray[np.int64], baseline: int, _ways: int) -> NDArray[np.bool_]:
            treated: NDArray[np.bool_] = rest[members] >= baseline
            rest[members[treated]] -= baseline
            return treated

        return self._build(ranks.size, choose_by_rank)

    def _build(self, number: int, choose: Callable[[NDArray[np.int64], int, int], NDArray[np.bool_]]) -> Orders:
        """Orders made day by day.

        Args:
            number: how many.
            choose: whether each of these orders treats the day, given in how many ways it can go on from a baseline
                day, and in how many at all.
        """
        orders = np.zeros((number, self.days), dtype=np.bool_)
        states = [(0, 0, False)]
        member = np.zeros(number, dtype=np.int64)
        for day in range(self.days):
            after: dict[State, int] = {}
            following = np.empty_like(member)
            ends = np.cumsum(np.bincount(member, minlength=len(states)))
            for state, members in zip(states, np.split(np.argsort(member, kind="stable"), ends[:-1]), strict=True):
                without = self._step(day, state, treated=False)
                baseline = self._ways[day + 1][without] if without is not None else 0
                treated = choose(members, baseline, self._ways[day][state])
                orders[members, day] = treated
                for condition in (False, True):
                    reached = self._step(day, state, treated=condition)
                    if reached is not None and self._ways[day + 1][reached]:
                        following[members[treated == condition]] = after.setdefault(reached, len(after))
            states, member = list(after), following
        return orders
