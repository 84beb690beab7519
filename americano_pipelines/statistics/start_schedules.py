"""Count, list and draw the joint start days of treatment in a multiple baseline across cases."""

# - *Independent*: each case draws its start within its own window (Marascuilo and Busk 1988).
# - *Staggered*: the same, and any two starts lie at least some days apart.
# - *Permuted windows*: the cases are permuted over windows that do not overlap, and each draws its start within the one
#   it got (Koehler and Levin 1998). Windows of one day are fixed start points (Wampold and Worsham 1986).

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise, permutations
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError

Starts = NDArray[np.int64]
"""The day on which treatment starts in each case, counted from 0; shape (assignments, cases)."""

# The count of staggered starts is by subsets of the cases: 2 ** 12 of them for each day.
_MAX_STAGGERED_CASES = 12


@dataclass(frozen=True)
class StartSchedule:
    """The joint starts of treatment that could have been drawn, equally likely.

    Attributes:
        days: days of each case.
        windows: first and last day on which treatment may start: of each case, or, where they are permuted, of windows
            by time that do not overlap.
        permuted: whether the cases are permuted over the windows.
        distance: fewest days between the starts of any two cases; 0 where they are drawn independently.
    """

    days: tuple[int, ...]
    windows: tuple[tuple[int, int], ...]
    permuted: bool = False
    distance: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no schedule.

        Raises:
            AnalysisError: the parts do not fit together.
        """
        if len(self.days) != len(self.windows):
            raise AnalysisError(f"{len(self.days)} cases need as many windows of start days, not {len(self.windows)}")
        # Permuted, each case may get each window.
        shortest = (min(self.days),) * len(self.days) if self.permuted else self.days
        for (first, last), days in zip(self.windows, shortest, strict=True):
            if not 1 <= first <= last < days:
                raise AnalysisError(
                    f"treatment cannot start on day {first} to {last} of {days}: a day comes before it, and one is left"
                )
        if self.permuted and any(last >= first for (_, last), (first, _) in pairwise(self.windows)):
            raise AnalysisError("windows that cases are permuted over come one after another and do not overlap")
        if self.distance < 0 or (self.permuted and self.distance):
            raise AnalysisError("a distance between starts is a number of days, and is not for permuted cases")
        if self.distance and len(self.days) > _MAX_STAGGERED_CASES:
            raise AnalysisError(f"staggered starts are counted for at most {_MAX_STAGGERED_CASES} cases")

    @cached_property
    def count(self) -> int:
        """How many there are."""
        if self.distance:
            return self._ways[-1][0]
        return prod(self._sizes) * (factorial(len(self.days)) if self.permuted else 1)

    def contains(self, starts: Sequence[int]) -> bool:
        """Whether these starts could have been drawn."""
        in_time = sorted(starts) if self.permuted else starts
        within = len(starts) == len(self.days) and all(
            first <= start <= last for start, (first, last) in zip(in_time, self.windows, strict=True)
        )
        return within and all(later - earlier >= self.distance for earlier, later in pairwise(sorted(starts)))

    def possible(self, case: int) -> range:
        """The days that hold every start of a case."""
        if self.permuted:
            return range(self.windows[0][0], self.windows[-1][1] + 1)
        return range(self.windows[case][0], self.windows[case][1] + 1)

    def blocks(self, size: int) -> Iterator[Starts]:
        """All of them, about `size` at a time."""
        if not self.permuted:
            yield from self._extended(np.empty((1, 0), dtype=np.int64), size)
            return
        cases = len(self.days)
        # Starts in each window, then the case that each window is for.
        for inside in self._products(size):
            orders = permutations(range(cases))
            while block := list(islice(orders, max(1, size // len(inside)))):
                yield inside[:, np.array(block)].reshape(-1, cases)

    def draw(self, generator: np.random.Generator, number: int) -> Starts:
        """Draw independently, each as likely as any other.

        Raises:
            AnalysisError: there is nothing to draw from.
        """
        if self.count == 0:
            raise AnalysisError(f"no starts within the windows lie {self.distance} days apart")
        if self.distance:
            return self._drawn_staggered(generator, number)
        first = np.array([first for first, _ in self.windows])
        starts = first + generator.integers(np.array(self._sizes), size=(number, len(self.days)))
        if not self.permuted:
            return starts
        orders = generator.permuted(np.tile(np.arange(len(self.days)), (number, 1)), axis=1)
        return np.take_along_axis(starts, orders, axis=1)

    @property
    def _sizes(self) -> list[int]:
        return [last - first + 1 for first, last in self.windows]

    def _products(self, size: int) -> Iterator[Starts]:
        """Every start in each window with every one in the others, without regard to the cases."""
        independent = StartSchedule(tuple(last + 2 for _, last in self.windows), self.windows)
        yield from independent.blocks(size)

    def _extended(self, chosen: Starts, size: int) -> Iterator[Starts]:
        """These starts of the first cases with all that the others can have, in blocks."""
        case = chosen.shape[1]
        if case == len(self.days):
            yield chosen
            return
        options = np.array(self.possible(case))
        for part in np.array_split(chosen, max(1, -(-chosen.shape[0] * options.size // size))):
            starts = np.column_stack((np.repeat(part, options.size, axis=0), np.tile(options, part.shape[0])))
            if self.distance and case:
                apart = np.abs(starts[:, :-1] - starts[:, -1:]).min(axis=1) >= self.distance
                starts = starts[apart]
            if starts.size:
                yield from self._extended(starts, size)

    @cached_property
    def _ways(self) -> list[list[int]]:
        """By subset of the cases, a bit for each, and day: in how many ways all of them start on that day or later."""
        cases, last = len(self.days), max(last for _, last in self.windows)
        ways = [[0] * (last + 2 + self.distance) for _ in range(1 << cases)]
        ways[0] = [1] * len(ways[0])
        for subset in range(1, 1 << cases):
            members = [case for case in range(cases) if subset >> case & 1]
            for day in range(last, -1, -1):
                ways[subset][day] = ways[subset][day + 1] + sum(
                    ways[subset ^ (1 << case)][day + self.distance]
                    for case in members
                    if self.windows[case][0] <= day <= self.windows[case][1]
                )
        return ways

    def _drawn_staggered(self, generator: np.random.Generator, number: int) -> Starts:
        """Day by day: no start, or that of one case, in proportion to the ways in which the others can follow."""
        starts = np.empty((number, len(self.days)), dtype=np.int64)
        subset, free = np.full(number, (1 << len(self.days)) - 1), np.zeros(number, dtype=np.int64)
        for day in range(max(last for _, last in self.windows) + 1):
            for waiting in np.unique(subset[(free <= day) & (subset > 0)]).tolist():
                rows = np.flatnonzero((subset == waiting) & (free <= day))
                total = self._ways[waiting][day]
                starting = [
                    case
                    for case, (first, last) in enumerate(self.windows)
                    if waiting >> case & 1 and first <= day <= last
                ]
                cumulated, shares = 0, []
                for case in starting:
                    cumulated += self._ways[waiting ^ (1 << case)][day + self.distance]
                    # Whole numbers of any size, divided once: the shares are right to the last bit.
                    shares.append(cumulated / total)
                chosen = np.searchsorted(shares, generator.random(rows.size), side="right")
                for index, case in enumerate(starting):
                    of_case = rows[chosen == index]
                    starts[of_case, case] = day
                    subset[of_case] ^= 1 << case
                    free[of_case] = day + self.distance
        return starts
