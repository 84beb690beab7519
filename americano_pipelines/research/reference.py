"""The reference set of a test: the statistic of all that could have been drawn, or of a sample of it.

Here belong looking at every assignment in bounded memory, drawing from the set, and the interval of an estimated p.
What is counted in it is `randomization.py`.
"""

from collections.abc import Sequence

import numpy as np

from americano_pipelines.research.alternation import Alternation
from americano_pipelines.research.schedules import PhaseSchedule
from americano_pipelines.research.statistic import Prefix, Values

Schedule = PhaseSchedule | Alternation

GENERATOR = "PCG64"
_BLOCK = 65_536  # assignments looked at together: 10 to 50 MB
_P_CONFIDENCE = 0.99


def exact(schedules: Sequence[Schedule], values: Sequence[Prefix], marks: Sequence[Prefix]) -> tuple[Values, Values]:
    """Look at every assignment; with several cases, at every one of a case with every one of the others.

    Args:
        schedules: of each case.
        values: prefix sums of each case's days.
        marks: prefix sums of 1 on the treated and 0 on the other days that have a value.

    Returns:
        The statistic of each assignment, averaged over cases, NaN where a phase has no value; and the part of a
        constant effect on the treated days that it contains, 1 for the observed assignment. Shapes (assignments,).
    """
    total, share = np.zeros(1), np.zeros(1)
    for schedule, prefix, mark in zip(schedules, values, marks, strict=True):
        own, part = _gathered(schedule, prefix, mark)
        total, share = np.add.outer(total, own).ravel(), np.add.outer(share, part).ravel()
    return total / len(schedules), share / len(schedules)


def drawn(
    schedules: Sequence[Schedule], values: Sequence[Prefix], marks: Sequence[Prefix], *, seed: int, draws: int
) -> tuple[Values, Values]:
    """Draw so many assignments, for each case independently; arguments and result as of `exact`, shapes (draws,)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    total, share = np.zeros(draws), np.zeros(draws)
    for schedule, prefix, mark in zip(schedules, values, marks, strict=True):
        own, part = _gathered(schedule, prefix, mark, generator, draws)
        total, share = total + own, share + part
    return total / len(schedules), share / len(schedules)


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """99 % interval of a proportion: Clopper and Pearson (1934)."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(_P_CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def _gathered(
    schedule: Schedule, values: Prefix, marks: Prefix, generator: np.random.Generator | None = None, draws: int = 0
) -> tuple[Values, Values]:
    """Statistics and parts of one case: of all assignments, or of those drawn where there is a generator."""
    sizes = [min(_BLOCK, draws - start) for start in range(0, draws, _BLOCK)]
    if isinstance(schedule, Alternation):
        orders = schedule.blocks(_BLOCK) if generator is None else (schedule.draw(generator, n) for n in sizes)
        found = [(schedule.contrasts(values, some), schedule.contrasts(marks, some)) for some in orders]
    else:
        lengths = schedule.blocks(_BLOCK) if generator is None else (schedule.draw(generator, n) for n in sizes)
        found = [(schedule.contrasts(values, some), schedule.contrasts(marks, some)) for some in lengths]
    statistics, parts = zip(*found, strict=True)
    return np.concatenate(statistics), np.concatenate(parts)
