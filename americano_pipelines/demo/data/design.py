"""Draw the phases of a demo protocol and its true outcome on each day. All functions are pure."""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.demo.data.protocols import DemoProtocol

PHASES = 4
_MISSED = (2, 5)  # days without any study in a protocol: at least, and less than


@dataclass(frozen=True)
class Phase:
    """One phase as drawn: whole days from `first` to the day before `end`."""

    label: str
    kind: str
    treated: bool
    first: date
    days: int

    @property
    def end(self) -> date:
        """The first day after the phase."""
        return self.first + timedelta(days=self.days)


def admissible_splits(total: int, shortest: int, longest: int, parts: int = PHASES) -> list[tuple[int, ...]]:
    """All ways to split a number of days into phases, in lexicographic order.

    Args:
        total: Days of all phases together.
        shortest: Fewest days of a phase.
        longest: Most days of a phase.
        parts: Number of phases.

    Returns:
        Every tuple of `parts` lengths within the bounds that sums to `total`; empty when there is none.
    """
    if parts == 0:
        return [()] if total == 0 else []
    if not parts * shortest <= total <= parts * longest:
        return []
    return [
        (length, *rest)
        for length in range(shortest, longest + 1)
        for rest in admissible_splits(total - length, shortest, longest, parts - 1)
    ]


def drawn_lengths(protocol: DemoProtocol) -> tuple[int, ...]:
    """The protocol's phase lengths: one of its admissible splits, each as likely as any other."""
    splits = admissible_splits(protocol.total_days, protocol.min_days, protocol.max_days)
    return splits[np.random.Generator(np.random.PCG64(protocol.seed)).integers(len(splits))]


@cache
def phases(protocol: DemoProtocol) -> tuple[Phase, ...]:
    """The four phases with the drawn lengths."""
    second_baseline = "WITHDRAWAL" if protocol.withdraws else "BASELINE"
    plan = (
        ("baseline_1", "BASELINE", False),
        ("intervention_A_1", "INTERVENTION_A", True),
        ("baseline_2", second_baseline, False),
        ("intervention_A_2", "INTERVENTION_A", True),
    )
    drawn: list[Phase] = []
    first = protocol.start
    for (label, kind, treated), days in zip(plan, drawn_lengths(protocol), strict=True):
        drawn.append(Phase(label, kind, treated, first, days))
        first = drawn[-1].end
    return tuple(drawn)


def daily_outcomes(protocol: DemoProtocol) -> NDArray[np.float64]:
    """What the mean score of each of the protocol's days would be, in points; NaN on a day without study."""
    treated = np.repeat([phase.treated for phase in phases(protocol)], [phase.days for phase in phases(protocol)])
    return with_noise(
        protocol.base + protocol.effect * treated + protocol.trend * np.arange(protocol.total_days),
        np.random.Generator(np.random.PCG64([protocol.seed, protocol.noise_seed])),
        noise=protocol.noise,
        autocorrelation=protocol.autocorrelation,
    )


def with_noise(
    levels: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    noise: float,
    autocorrelation: float,
    missed: bool = True,
) -> NDArray[np.float64]:
    """Add noise to the levels of days, and leave some without a value.

    Args:
        levels: the level of each day, in points.
        rng: the random numbers.
        noise: standard deviation of the noise, in points.
        autocorrelation: of the noise of neighbouring days, AR(1).
        missed: whether some days are without study.

    Returns:
        The value of each day, NaN on a day without study.
    """
    shocks = rng.standard_normal(levels.size)
    series = np.empty(levels.size)
    series[0] = shocks[0]
    fresh = np.sqrt(1 - autocorrelation**2)  # keeps the standard deviation at 1 on every day
    for day in range(1, levels.size):
        series[day] = autocorrelation * series[day - 1] + fresh * shocks[day]
    values = levels + noise * series
    if missed:
        values[rng.choice(levels.size, size=rng.integers(*_MISSED), replace=False)] = np.nan
    return np.asarray(values, dtype=np.float64)
