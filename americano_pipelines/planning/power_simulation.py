"""Simulate the power of a planned randomization test: how often it would find an effect of a given size.

Each simulated experiment draws its schedule anew and is tested as the analysis tests it, over every assignment, or over
a sample where there are too many. Effects are in standard deviations of a day's value around the trend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.planned_design import PlannedDesign, abab
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.prefix_sums import PrefixSums, Values, tolerance
from americano_pipelines.statistics.randomization_test import Direction
from americano_pipelines.statistics.reference_set import Schedule, clopper_pearson

SIMULATIONS = 2000
# Above this number, assignments are sampled: all would take minutes, and the power differs in the third digit.
MAX_ENUMERATED, SAMPLE = 20_000, 1999
_CELLS = 500_000  # experiments x assignments looked at together: about 100 MB
_LONGEST = 3  # times the planned days

Assignments = NDArray[np.int64] | NDArray[np.bool_]
"""Phase lengths or treated days, one assignment a row; see `phase_schedules` and `alternating_schedules`."""


@dataclass(frozen=True)
class Assumptions:
    """What a simulated experiment is made of.

    Attributes:
        autocorrelation: of neighbouring days, AR(1), between -1 and 1.
        trend: by how many standard deviations the outcome rises from the first day to the last.
        missing: share of days without a value, each independent of all else.
    """

    autocorrelation: float = 0.0
    trend: float = 0.0
    missing: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            AnalysisError: a number is out of its bounds.
        """
        if not -1 < self.autocorrelation < 1:
            raise AnalysisError(f"the autocorrelation {self.autocorrelation:g} is not between -1 and 1")
        if not 0 <= self.missing < 1:
            raise AnalysisError(f"the share of missing days {self.missing:g} is not between 0 and 1")
        if not np.isfinite(self.trend):
            raise AnalysisError("the trend is not finite")


@dataclass(frozen=True)
class PlannedTest:
    """Direction and level of the test.

    Attributes:
        direction: `either` for a two-sided test.
        alpha: its level.
    """

    direction: Literal["increase", "decrease", "either"] = "either"
    alpha: float = 0.05

    @property
    def one_sided(self) -> Direction | None:
        """The direction of a one-sided test, None for a two-sided one."""
        return None if self.direction == "either" else self.direction

    @property
    def sides(self) -> int:
        """By how much the smaller one-sided p is multiplied."""
        return 2 if self.one_sided is None else 1


@dataclass(frozen=True)
class Scenario:
    """Test, assumptions and size of a simulation.

    Attributes:
        test: the test.
        assumptions: about the days.
        simulations: how many experiments for each figure.
        seed: of the simulation.
    """

    test: PlannedTest
    assumptions: Assumptions
    simulations: int = SIMULATIONS
    seed: int = 0


@dataclass(frozen=True)
class Power:
    """How often an effect was found.

    Attributes:
        effect: in standard deviations.
        autocorrelation: that was assumed.
        power: share of the experiments in which p was at the level or below; at no effect, the rate of false alarms.
        low: lower end of its 99 % Clopper-Pearson interval.
        high: upper end.
    """

    effect: float
    autocorrelation: float
    power: float
    low: float
    high: float


@dataclass(frozen=True)
class TriedDesign:
    """A design tried by the search, with its power.

    Attributes:
        design: the design.
        power: for the effect that is to be found.
    """

    design: PlannedDesign
    power: Power


def simulate_power(
    design: PlannedDesign, scenario: Scenario, effects: Sequence[float], timer: StageTimer | None = None
) -> list[Power]:
    """Simulate experiments and test each.

    Args:
        design: the design.
        scenario: the test, the days and the number of experiments.
        effects: sizes of effects in standard deviations; in a test for a decrease they lower the outcome.
        timer: shows how far it is.

    Returns:
        One for each effect, in their order.
    """
    test, simulations = scenario.test, scenario.simulations
    generator = np.random.Generator(np.random.PCG64(scenario.seed))
    rejections = np.zeros(len(effects), dtype=np.int64)
    timer, batch_size = timer or StageTimer(), _batch_size(design.schedule)
    for start in range(0, simulations, batch_size):
        with timer.stage(f"simulate {design.days} days of {design.bounds}, {start:,} of {simulations:,}"):
            number = min(batch_size, simulations - start)
            batch = simulate_batch(design.schedule, scenario.assumptions, number, generator)
            for index, effect in enumerate(effects):
                p = batch.p_values(-effect if test.direction == "decrease" else effect, test)
                rejections[index] += sum(rejects(value, test.alpha) for value in p.tolist())
    powers = []
    for effect, number in zip(effects, rejections.tolist(), strict=True):
        low, high = clopper_pearson(number, simulations)
        powers.append(Power(effect, scenario.assumptions.autocorrelation, number / simulations, low, high))
    return powers


def search_designs(
    design: PlannedDesign, scenario: Scenario, effect: float, target: float, timer: StageTimer | None = None
) -> list[TriedDesign]:
    """Look for a length, or for bounds, with which an effect is found often enough.

    Longer experiments, up to three times the days with bounds that grow along, are searched by bisection, so the
    result is the shortest up to the simulation's error. For ABAB, the same days with wider bounds are looked at too.

    Args:
        design: the design to begin with.
        scenario: the test, the days and the number of experiments.
        effect: the effect that is to be found, in standard deviations.
        target: the share of experiments in which it is to be found.
        timer: shows how far it is.

    Returns:
        All designs that were looked at, by days.
    """

    def evaluate(candidate: PlannedDesign) -> TriedDesign:
        (power,) = simulate_power(candidate, scenario, (effect,), timer)
        return TriedDesign(candidate, power)

    options = [evaluate(candidate) for candidate in (design, *_wider(design))]
    if options[0].power.power >= target:
        return options
    longer = _longer(design)
    options.append(evaluate(longer[-1]))
    # If even the longest design lacks the power, skip the bisection.
    low, high = 0, len(longer) - 2 if options[-1].power.power >= target else -1
    while low <= high:
        middle = (low + high) // 2
        options.append(evaluate(longer[middle]))
        if options[-1].power.power >= target:
            high = middle - 1
        else:
            low = middle + 1
    return sorted(options, key=lambda option: (option.design.days, option.power.power))


@dataclass(frozen=True)
class Batch:
    """Simulated experiments without an effect.

    Attributes:
        values: the days' values, NaN where there is none; shape (experiments, days).
        treated: 1 on treatment days, else 0; same shape.
        observed: the statistic, NaN where a phase has no value; shape (experiments,).
        contrasts: the statistic of each assignment; shape (experiments, assignments).
        shares: the part of a constant effect that each assignment contains; same shape.
        observed_added: 1 where the observed assignment comes on top of a sample.
    """

    values: Values
    treated: Values
    observed: Values
    contrasts: Values
    shares: Values
    observed_added: int

    def p_values(self, effect: float, test: PlannedTest) -> Values:
        """The p of each experiment with an effect; 1 where it cannot be tested."""
        with_effect = self.values + effect * self.treated
        ties = np.array([tolerance(days) for days in with_effect])[:, np.newaxis]
        # The statistic is linear, so an effect adds its share to what each assignment gives without one.
        distance = (self.observed + effect)[:, np.newaxis] - (self.contrasts + effect * self.shares)
        distance[np.abs(distance) <= ties] = 0.0
        empty = np.isnan(distance)
        higher, lower = ((empty | side).sum(axis=1) for side in (distance <= 0, distance >= 0))
        as_extreme = {"increase": higher, "decrease": lower, "either": np.minimum(higher, lower)}[test.direction]
        size = self.contrasts.shape[1] + self.observed_added
        p = np.minimum(1.0, test.sides * (as_extreme + self.observed_added) / size)
        result: Values = np.where(np.isnan(self.observed), 1.0, p)
        return result


def _batch_size(schedule: Schedule) -> int:
    return max(1, _CELLS // (schedule.count if schedule.count <= MAX_ENUMERATED else SAMPLE))


def simulate_batch(schedule: Schedule, assumptions: Assumptions, number: int, generator: np.random.Generator) -> Batch:
    """Simulate so many experiments without an effect, each with an assignment of its own."""
    drawn: Assignments = schedule.draw(generator, number)
    values = _days(generator, assumptions, number, schedule.days)
    if schedule.count <= MAX_ENUMERATED:
        compared: Assignments = np.concatenate(list(schedule.blocks(MAX_ENUMERATED)))
        return _compare(schedule, values, drawn, compared, observed_added=0)
    return _compare(schedule, values, drawn, schedule.draw(generator, SAMPLE), observed_added=1)


def _compare(
    schedule: Schedule,
    values: Values,
    drawn: Assignments,
    compared: Assignments,
    *,
    observed_added: int,
) -> Batch:
    """The statistics of a batch of experiments under their own assignments and under those to compare with."""
    treated = np.stack([schedule.treatment_indicator(assignment) for assignment in drawn.tolist()])
    prefix = PrefixSums.of_series(values)
    marks = PrefixSums.of_series(np.where(np.isnan(values), np.nan, treated))

    def contrasts(sums: PrefixSums, assignments: Assignments) -> Values:
        if isinstance(schedule, Alternation):
            return schedule.contrasts(sums, assignments.astype(np.bool_))
        return schedule.contrasts(sums, assignments.astype(np.int64))

    own = [
        contrasts(PrefixSums(prefix.sums[row], prefix.numbers[row]), drawn[row : row + 1])[0]
        for row in range(len(values))
    ]
    return Batch(
        values, treated, np.array(own), contrasts(prefix, compared), contrasts(marks, compared), observed_added
    )


def _days(generator: np.random.Generator, assumptions: Assumptions, number: int, days: int) -> Values:
    """Days without an effect: standard normal, AR(1), on a straight trend, some without a value."""
    noise = generator.standard_normal((number, days))
    innovation_scale = np.sqrt(1 - assumptions.autocorrelation**2)
    for day in range(1, days):
        noise[:, day] = assumptions.autocorrelation * noise[:, day - 1] + innovation_scale * noise[:, day]
    values = noise + assumptions.trend * np.linspace(0, 1, days)
    values[generator.random((number, days)) < assumptions.missing] = np.nan
    return values


def _wider(design: PlannedDesign) -> list[PlannedDesign]:
    """The same days with the shortest phase at half and at a quarter of its days, and no other bound on the longest."""
    if not isinstance(design.schedule, PhaseSchedule):
        return []
    shortest, longest = design.schedule.shortest[0], design.schedule.longest[0]
    bounds = {(low, design.days - 3 * low) for low in (shortest, ceil(shortest / 2), ceil(shortest / 4))}
    return [abab(design.days, low, high) for low, high in sorted(bounds) if (low, high) != (shortest, longest)]


def _longer(design: PlannedDesign) -> list[PlannedDesign]:
    """The same design over more days, by days."""
    designs = []
    for days in range(design.days + 1, _LONGEST * design.days + 1):
        try:
            designs.append(design.resized(days))
        except AnalysisError:
            continue  # the days are no whole number of blocks
    return designs
