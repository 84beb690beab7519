"""The randomization test: how far out the observed difference lies among those of all that could have been drawn.

Here belong exact and sampled reference distributions, p and its interval. The null distribution comes from the
schedule that was really drawn from, never from shuffled days: these depend on each other, and shuffling them takes
chance for effect (23 % false alarms at AR(1) .5 where 5 % are claimed). What p means for people is `verdict.py`.

Edgington and Onghena, Randomization Tests (2007); Phipson and Smyth (2010) for (b + 1) / (m + 1).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.research.alternation import Alternation
from americano_pipelines.research.inversion import Interval, invert
from americano_pipelines.research.schedules import PhaseSchedule
from americano_pipelines.research.statistic import Prefix, Values, tolerance

Direction = Literal["increase", "decrease"]
Schedule = PhaseSchedule | Alternation

MOST_EXACT = 5_000_000
DRAWS = 99_999
_BLOCK = 65_536
_P_CONFIDENCE = 0.99


@dataclass(frozen=True)
class Case:
    """One learner's days and how their treatment days were drawn.

    Attributes:
        values: the outcome of each day, NaN where there is none; shape (days,). A day that the caller left out is NaN
            under every assignment: which days have a value does not depend on what could have been drawn instead.
        schedule: what could have been drawn.
        observed: what was drawn: phase lengths in days, or for each day whether it was treated.
    """

    values: Values
    schedule: Schedule
    observed: Sequence[int]


@dataclass(frozen=True)
class RandomizationTest:
    """What the test found.

    Attributes:
        observed: the statistic: treatment minus baseline, averaged over cases, in outcome units.
        assignments: N, how many could have been drawn.
        as_extreme: b, how many of those looked at are at least as extreme, the observed one included when all were.
        draws: m, how many were drawn; None when all were looked at.
        p: as_extreme / assignments, or (as_extreme + 1) / (draws + 1); never 0.
        p_interval: 99 % Clopper-Pearson interval of p when it was estimated, else None.
        direction: which way counts as extreme; None for both, on the absolute value.
        smallest_p: the smallest p this test could have given.
        empty: of those looked at, how many leave a phase without a value; they count as extreme.
        tolerance: differences below it are ties, in outcome units.
        seed: of the draws, None when all were looked at.
        generator: of the draws, None likewise.
        interval: of the effect, by inversion of the test.
        edges: bin edges of the reference distribution, in outcome units, shape (bins + 1,).
        counts: assignments in each bin, shape (bins,).
    """

    observed: float
    assignments: int
    as_extreme: int
    draws: int | None
    p: float
    p_interval: tuple[float, float] | None
    direction: Direction | None
    smallest_p: float
    empty: int
    tolerance: float
    seed: int | None
    generator: str | None
    interval: Interval
    edges: Values
    counts: NDArray[np.int64]

    def undecided(self, level: float) -> bool:
        """Whether p was estimated and its interval holds the level: more draws would have to tell."""
        return self.p_interval is not None and self.p_interval[0] <= level < self.p_interval[1]


def randomization_test(
    cases: Sequence[Case],
    *,
    direction: Direction | None,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = DRAWS,
    most_exact: int = MOST_EXACT,
) -> RandomizationTest:
    """Test the hypothesis that no day's outcome depends on whether it was treated.

    Args:
        cases: one learner, or several whose schedules were drawn independently; the statistic is averaged over them.
        direction: the way that was declared before; None for a two-sided test on the absolute value.
        confidence: of the effect's interval.
        seed: of the draws, if there are too many assignments to look at all.
        draws: how many to draw then.
        most_exact: how many may be looked at.

    Raises:
        AnalysisError: what was drawn is not admissible, or a phase that was observed has no value.
    """
    observed, marks = _observed(cases)
    assignments = prod(case.schedule.count for case in cases)
    exact = assignments <= most_exact
    generator = None if exact else np.random.Generator(np.random.PCG64(seed))
    values = [Prefix.of(case.values) for case in cases]
    treated = [
        Prefix.of(np.where(np.isnan(case.values), np.nan, mark)) for case, mark in zip(cases, marks, strict=True)
    ]
    contrasts, shares = _reference(cases, values, treated, generator, draws)
    ties = tolerance(np.concatenate([case.values - np.nanmean(case.values) for case in cases]))
    empty = np.isnan(contrasts)
    sign = {"increase": 1.0, "decrease": -1.0}.get(direction or "", 0.0)
    distance = np.abs(contrasts) if direction is None else sign * contrasts
    as_extreme = int((empty | (distance >= (abs(observed) if direction is None else sign * observed) - ties)).sum())
    mirror = 2 if direction is None and all(case.schedule.mirrored for case in cases) else 1
    empties = int(empty.sum())
    if exact:
        p, smallest, interval = as_extreme / assignments, (mirror + empties) / assignments, None
    else:
        p, smallest = (as_extreme + 1) / (draws + 1), (1 + empties) / (draws + 1)
        interval = _clopper_pearson(as_extreme, draws)
    counts, edges = np.histogram(contrasts[~empty], bins=min(60, max(10, contrasts.size // 20)))
    return RandomizationTest(
        observed=observed,
        assignments=assignments,
        as_extreme=as_extreme,
        draws=None if exact else draws,
        p=p,
        p_interval=interval,
        direction=direction,
        smallest_p=smallest,
        empty=empties,
        tolerance=ties,
        seed=None if exact else seed,
        generator=None if exact else "PCG64",
        interval=invert(observed, contrasts, shares, confidence, sampled=not exact),
        edges=edges,
        counts=counts.astype(np.int64),
    )


def _observed(cases: Sequence[Case]) -> tuple[float, list[Values]]:
    """The observed statistic and each case's treatment days."""
    found, marks = [], []
    for case in cases:
        if not case.schedule.contains(case.observed):
            raise AnalysisError(
                f"what was observed, {list(case.observed)}, could not have been drawn: no randomization test"
            )
        contrast = _contrast(case.schedule, Prefix.of(case.values), case.observed)
        if np.isnan(contrast):
            raise AnalysisError("a phase has no day with a value, so there is nothing to compare")
        found.append(contrast)
        marks.append(_marks(case))
    return float(np.mean(found)), marks


def _contrast(schedule: Schedule, prefix: Prefix, observed: Sequence[int]) -> float:
    if isinstance(schedule, Alternation):
        return float(schedule.contrasts(prefix, np.array([observed], dtype=np.bool_))[0])
    return float(schedule.contrasts(prefix, np.array([observed], dtype=np.int64))[0])


def _marks(case: Case) -> Values:
    """1 on the days that were treated, 0 on the others."""
    if isinstance(case.schedule, Alternation):
        return np.array(case.observed, dtype=np.float64)
    return case.schedule.treated_days(case.observed)


def _reference(
    cases: Sequence[Case],
    values: Sequence[Prefix],
    treated: Sequence[Prefix],
    generator: np.random.Generator | None,
    draws: int,
) -> tuple[Values, Values]:
    """Every statistic of the reference set, and how much of a constant effect on the treated days it would contain."""
    total, share = np.zeros(1), np.zeros(1)
    for case, prefix, mark in zip(cases, values, treated, strict=True):
        own = [np.concatenate(part) for part in zip(*_one(case.schedule, prefix, mark, generator, draws), strict=True)]
        if generator is None:
            # Schedules are independent: every assignment of one case with every one of the others.
            total, share = np.add.outer(total, own[0]).ravel(), np.add.outer(share, own[1]).ravel()
        else:
            total, share = total + own[0], share + own[1]
    return total / len(cases), share / len(cases)


def _one(
    schedule: Schedule, prefix: Prefix, mark: Prefix, generator: np.random.Generator | None, draws: int
) -> Iterator[tuple[Values, Values]]:
    sizes = [min(_BLOCK, draws - start) for start in range(0, draws, _BLOCK)]
    if isinstance(schedule, Alternation):
        for orders in schedule.blocks(_BLOCK) if generator is None else (schedule.draw(generator, n) for n in sizes):
            yield schedule.contrasts(prefix, orders), schedule.contrasts(mark, orders)
        return
    for lengths in schedule.blocks(_BLOCK) if generator is None else (schedule.draw(generator, n) for n in sizes):
        yield schedule.contrasts(prefix, lengths), schedule.contrasts(mark, lengths)


def _clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson (1934): exact interval of a proportion."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(_P_CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)
