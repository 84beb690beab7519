"""Count, list and draw the schedules of designs whose phase switches were randomised."""

# **A day in which a phase switches** belongs to neither phase. Another assignment would have switched on another day,
# so each leaves out its own, and the day that was cut in fact counts wherever it lies within a phase of that
# assignment: without an effect it is a day like any other. Leaving out the same days under every assignment is no exact
# test: on data without an effect it rejected .011 to .080 of 2000 where .050 was due.
#
# **Phases that are not compared** keep their days under every assignment: that two conditions do not differ says
# nothing about the days of a third one. The set is then that of the assignments which agree on these days.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.prefix_sums import PrefixSums
from americano_pipelines.statistics.recorded_fields import WHERE_USED

Lengths = NDArray[np.int64]
"""Phase lengths in days, shape (assignments, phases)."""


@dataclass(frozen=True)
class PhaseSchedule:
    """Every split of a number of days into phases whose lengths lie between bounds, equally likely.

    Attributes:
        total: days of all phases together.
        treated: whether each phase is treatment, in order; shape (phases,).
        shortest: fewest days of each phase, at least 1.
        longest: most days of each phase.
        cut: whether each phase begins within a day, which is then left out of its mean; empty when none does.
        compared: whether each phase is compared; empty when all are. A phase that is not has no part in the statistic.
        starts: the day on which each phase has to begin, None where that is free; empty when all are free.
    """

    total: int
    treated: tuple[bool, ...]
    shortest: tuple[int, ...]
    longest: tuple[int, ...]
    cut: tuple[bool, ...] = ()
    compared: tuple[bool, ...] = field(default=(), metadata=WHERE_USED)
    starts: tuple[int | None, ...] = field(default=(), metadata=WHERE_USED)

    def __post_init__(self) -> None:
        """Refuse what is no schedule.

        Raises:
            AnalysisError: the parts do not fit together.
        """
        sizes = {len(self.treated), len(self.shortest), len(self.longest), self._cut.size, self._compared.size}
        if len(sizes | {len(self._starts)}) != 1:
            raise AnalysisError("a schedule needs a condition and bounds for each phase")
        self._check_conditions()
        if any(not 1 <= low <= high for low, high in zip(self.shortest, self.longest, strict=True)):
            raise AnalysisError("a phase lasts at least one day, and its shortest length is not above its longest")
        if any(start is not None and not 0 <= start < self.total for start in self._starts):
            raise AnalysisError(f"a phase has to begin on one of {self.total} days")

    def _check_conditions(self) -> None:
        if not self.sides[0].any() or not self.sides[1].any():
            raise AnalysisError("a schedule needs treatment and baseline phases")

    @property
    def days(self) -> int:
        """Days of all phases together; the field keeps the name `total`, which published records have."""
        return self.total

    @cached_property
    def sides(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each phase counts as treatment, and whether as baseline; one that is not compared is neither."""
        treated = np.array(self.treated, dtype=np.bool_)
        return treated & self._compared, ~treated & self._compared

    @property
    def switches(self) -> list[tuple[int, int]]:
        """Phases that one of the other condition follows: its number, and 1 where that is treatment, else -1."""
        treated, baseline = (side.tolist() for side in self.sides)
        return [
            (phase, 1 if baseline[phase] else -1)
            for phase in range(len(treated) - 1)
            if (treated[phase] and baseline[phase + 1]) or (baseline[phase] and treated[phase + 1])
        ]

    @cached_property
    def count(self) -> int:
        """How many there are."""
        return self._ways[0][self.total]

    def fits(self, lengths: Sequence[int]) -> bool:
        """Whether these are lengths of such phases in so many days, within the bounds or not."""
        return len(lengths) == len(self.treated) and sum(lengths) == self.total and min(lengths) >= 1

    def contains(self, lengths: Sequence[int]) -> bool:
        """Whether these phase lengths could have been drawn."""
        return (
            self.fits(lengths)
            and all(low <= days <= high for low, days, high in zip(self.shortest, lengths, self.longest, strict=True))
            and all(
                start in {None, end - days}
                for start, days, end in zip(self._starts, lengths, accumulate(lengths), strict=True)
            )
        )

    def blocks(self, size: int) -> Iterator[Lengths]:
        """All of them in lexicographic order, about `size` at a time and never twice as many."""
        yield from self._completed(np.empty((1, 0), dtype=np.int64), np.array([self.total]), size)

    def draw(self, generator: np.random.Generator, number: int) -> Lengths:
        """Draw independently, each as likely as any other.

        Phase by phase, a length in proportion to the ways in which the later phases can follow it.

        Raises:
            AnalysisError: there is nothing to draw from.
        """
        if self.count == 0:
            raise AnalysisError(f"no phases within the bounds make {self.total} days")
        left = np.full(number, self.total)
        chosen = np.empty((number, len(self.treated)), dtype=np.int64)
        for phase, (low, high) in enumerate(zip(self.shortest, self.longest, strict=True)):
            follow = self._ways[phase + 1]
            for rest in np.unique(left).tolist():
                cumulated = list(accumulate(follow[rest - days] for days in range(low, min(high, rest) + 1)))
                # Whole numbers of any size, divided once: the shares are right to the last bit.
                shares = [ways / cumulated[-1] for ways in cumulated]
                rows = np.flatnonzero(left == rest)
                chosen[rows, phase] = low + np.searchsorted(shares, generator.random(rows.size), side="right")
            left -= chosen[:, phase]
        return chosen

    def contrasts(self, prefix: PrefixSums, lengths: Lengths) -> NDArray[np.float64]:
        """Mean of treatment phase means minus mean of baseline phase means, NaN where a phase has no value.

        Args:
            prefix: prefix sums of the days' values, of one series or several.
            lengths: assignments.

        Returns:
            Shape (assignments,), or (series, assignments); in outcome units.
        """
        return self.contrast_of_phases(prefix.means(*self.edges(lengths)))

    def edges(self, lengths: Lengths) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first day of each phase that counts, and the day after its last; shapes (assignments, phases)."""
        ends = np.cumsum(lengths, axis=1)
        return ends - lengths + self._cut, ends

    def contrast_of_phases(self, of_phases: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over treatment phases minus mean over baseline phases of a number of each phase; shape (..., phases)."""
        treated, baseline = self.sides
        result: NDArray[np.float64] = of_phases[..., treated].mean(axis=-1) - of_phases[..., baseline].mean(axis=-1)
        return result

    def weights(self, lengths: Lengths, days: NDArray[np.int64]) -> NDArray[np.float64]:
        """The weight of some days in the statistic, where every day has a value.

        Args:
            lengths: assignments.
            days: the days.

        Returns:
            Shape (assignments, days): 0 on a day that is cut, NaN in a phase without another day.
        """
        ends = np.cumsum(lengths, axis=1)
        phase = (days[None, :, None] >= ends[:, None, :]).sum(axis=2)
        treated, baseline = self.sides
        shares = np.where(treated, 1 / treated.sum(), np.where(baseline, -1 / baseline.sum(), 0.0))
        counted = lengths - self._cut
        with np.errstate(divide="ignore"):
            of_phase = shares / np.where(counted == 0, np.nan, counted)
        is_cut = (days == np.take_along_axis(ends - lengths, phase, axis=1)) & (self._cut[phase] > 0)
        return np.where(is_cut, 0.0, np.take_along_axis(of_phase, phase, axis=1))

    def treatment_indicator(self, lengths: Sequence[int]) -> NDArray[np.float64]:
        """1 on treatment days, 0 on baseline days, 1/2 on a day cut between them; shape (days,).

        NaN on days that are not compared, to which a day cut at their edge belongs.
        """
        days = np.repeat(np.where(self._compared, self.sides[0].astype(np.float64), np.nan), lengths)
        cut = (np.cumsum(lengths) - lengths)[1:][self._cut[1:] > 0]
        days[cut] = (days[cut - 1] + days[cut]) / 2
        return days

    def days_for(self, assignments: int) -> int | None:
        """Fewest days, with the same bounds, that admit so many assignments; None when the bounds never do."""
        for total in range(sum(self.shortest), sum(self.longest) + 1):
            if PhaseSchedule(total, self.treated, self.shortest, self.longest).count >= assignments:
                return total
        return None

    @cached_property
    def _compared(self) -> NDArray[np.bool_]:
        return np.array(self.compared or (True,) * len(self.treated), dtype=np.bool_)

    @property
    def _starts(self) -> tuple[int | None, ...]:
        return self.starts or (None,) * len(self.treated)

    @property
    def _cut(self) -> NDArray[np.int64]:
        return np.array(self.cut or (False,) * len(self.treated), dtype=np.int64)

    @cached_property
    def _ways(self) -> list[list[int]]:
        """By phase and days left: how many ways there are to fill this phase and those after it."""
        ways = [[0] * (self.total + 1) for _ in range(len(self.treated) + 1)]
        ways[-1][0] = 1
        for phase in range(len(self.treated) - 1, -1, -1):
            before = [0, *accumulate(ways[phase + 1])]
            start = self._starts[phase]
            for left in range(self.total + 1) if start is None else (self.total - start,):
                most, least = left - self.shortest[phase], left - self.longest[phase]
                ways[phase][left] = before[max(most + 1, 0)] - before[max(least, 0)]
        return ways

    def _completed(self, chosen: Lengths, left: NDArray[np.int64], size: int) -> Iterator[Lengths]:
        """These first phases with all that may follow them, in blocks."""
        phase = chosen.shape[1]
        if phase == len(self.treated):
            yield chosen
            return
        # What the later phases can take is an interval, except that a phase may have to begin on a certain day.
        low = np.maximum(self.shortest[phase], left - sum(self.longest[phase + 1 :]))
        high = np.minimum(self.longest[phase], left - sum(self.shortest[phase + 1 :]))
        number = np.maximum(high - low + 1, 0)
        origin = np.repeat(np.arange(left.size), number)
        days = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + low[origin]
        possible = np.array([way > 0 for way in self._ways[phase + 1]])[left[origin] - days]
        origin, days = origin[possible], days[possible]
        chosen, left = np.column_stack((chosen[origin], days)), left[origin] - days
        follow = np.array(self._ways[phase + 1], dtype=np.float64)[left]
        group = (np.cumsum(follow) - follow) // size
        for part in np.split(np.arange(left.size), np.flatnonzero(np.diff(group)) + 1):
            yield from self._completed(chosen[part], left[part], size)
