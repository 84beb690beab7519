"""The piecewise line: a level and a slope for the first phase, and a change of both where each later one begins.

Here belong the columns of the model and which days can carry it, for both ways of fitting it: least squares is
`segmented.py`, the posterior is `bayesian.py`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.research.dependence import varies
from americano_pipelines.research.statistic import Values

FEWEST_DAYS = 2  # a line


def design_matrix(phase: NDArray[np.int64], phases: int) -> Values:
    """Columns: 1, day, and for each phase after the first whether it has begun and how many days ago.

    Counted from its first day, so that the coefficient of the level is the jump at the first treated point. Wagner et
    al. (2002) count from the day before, which puts the jump where nobody was treated.

    Args:
        phase: index of each day's phase, -1 for none; shape (days,).
        phases: number of phases.

    Returns:
        Shape (days, 2 * phases).
    """
    day = np.arange(phase.size, dtype=np.float64)
    columns = [np.ones_like(day), day]
    for index in range(1, phases):
        begun = np.flatnonzero(phase == index)
        first = float(begun[0]) if begun.size else np.inf
        columns += [(day >= first).astype(np.float64), np.where(day >= first, day - first, 0.0)]
    return np.column_stack(columns)


def usable_days(values: Values, phase: NDArray[np.int64], labels: Sequence[str]) -> NDArray[np.bool_]:
    """The days that go into the fit: in a phase, with a value.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        phase: index of each day's phase, -1 for none; shape (days,).
        labels: the phases' labels.

    Returns:
        Shape (days,).

    Raises:
        AnalysisError: there is one phase only, a phase has fewer than two days, there are no more days than
            coefficients, or the outcome is the same on all of them.
    """
    if len(labels) < 2:  # noqa: PLR2004 - something has to change
        raise AnalysisError("the protocol has one phase only: nothing changes in it that a line could show")
    used: NDArray[np.bool_] = ~np.isnan(values) & (phase >= 0)
    for index, label in enumerate(labels):
        if (used & (phase == index)).sum() < FEWEST_DAYS:
            raise AnalysisError(
                f"phase {label!r} has fewer than two days with a value: no line can be drawn through it"
            )
    if used.sum() <= 2 * len(labels):
        raise AnalysisError(f"{used.sum()} days are too few for {2 * len(labels)} coefficients")
    if not varies(values[used]):
        raise AnalysisError("the outcome is the same on every day: there is nothing that a line could explain")
    return used
