"""Search for change points of a series, and show how the result depends on the penalty.

Give no p and no verdict: it is exploration, and under autocorrelation false alarms are the rule.
"""

# Killick, Fearnhead and Eckley (2012) for PELT; Truong, Oudre and Vayatis (2020) for the library.

from dataclasses import dataclass

import numpy as np

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.changepoint_defaults import FACTOR, MIN_SIZE
from americano_pipelines.statistics.effect_sizes import varies
from americano_pipelines.statistics.prefix_sums import Values

FACTORS = (1.0, 2.0, 3.0, 4.0, 6.0)
NOTE = (
    "Exploration: a search that was not told where to look. When days depend on each other it finds changes where "
    "there are none, at AR(1) .3 in one series of four and at .5 in more than half of them; a change that vanishes "
    "under another penalty is no finding."
)


@dataclass(frozen=True)
class ChangePoints:
    """What a search found.

    Attributes:
        days: first day of each new level, counted from 0.
        levels: mean of each segment, in outcome units; one more than `days`.
        penalty: of each further change.
        noise: the standard deviation it is made of, in outcome units; 0 when the outcome never varies.
        min_size: fewest days of a segment, those without a value not counted.
        sensitivity: factor of the penalty to the days found under it.
        note: what must stand beside it.
    """

    days: tuple[int, ...]
    levels: tuple[float, ...]
    penalty: float
    noise: float
    min_size: int
    sensitivity: dict[float, tuple[int, ...]]
    note: str


def change_points(values: Values, *, min_size: int = MIN_SIZE, factor: float = FACTOR) -> ChangePoints:
    """Search for changes of level with PELT, squared error, every day a candidate.

    The penalty is factor x noise^2 x ln(days); the noise is estimated from differences of neighbouring days by their
    median, which changes of level hardly touch.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        min_size: fewest days of a segment.
        factor: of the penalty.

    Raises:
        AnalysisError: there are fewer than two segments' days.
    """
    import ruptures

    present = np.flatnonzero(~np.isnan(values))
    series = values[present]
    if series.size < 2 * min_size:
        raise AnalysisError(
            f"{series.size} days with a value are too few to look for a change ({2 * min_size} are needed)"
        )
    steps = np.abs(np.diff(series))
    # The median of |x - y| of two normal values is .6745 sqrt(2) times their standard deviation.
    # It is 0 when most days equal the one before; and what varies by rounding only has no change of level.
    noise = (float(np.median(steps) / (0.6745 * np.sqrt(2))) or float(series.std())) if varies(series) else 0.0
    search = ruptures.Pelt(model="l2", min_size=min_size, jump=1).fit(series)

    def breaks_at(scale: float) -> list[int]:
        if noise == 0:
            return []
        return [int(index) for index in search.predict(pen=scale * noise**2 * np.log(series.size))][:-1]

    breaks = breaks_at(factor)
    return ChangePoints(
        days=tuple(int(present[index]) for index in breaks),
        levels=tuple(float(part.mean()) for part in np.split(series, breaks)),
        penalty=float(factor * noise**2 * np.log(series.size)),
        noise=noise,
        min_size=min_size,
        sensitivity={scale: tuple(int(present[index]) for index in breaks_at(scale)) for scale in FACTORS},
        note=NOTE,
    )
