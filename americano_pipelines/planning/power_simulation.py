"""Simulate the power of a planned randomization test: how often it would find an effect of a given size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.planning import simulated_experiment
from americano_pipelines.planning.planned_design import PlannedDesign
from americano_pipelines.planning.simulated_experiment import Assumptions, PlannedTest, simulate_experiments
from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.reference_set import Schedule, clopper_pearson

SIMULATIONS = 2000
_CELLS = 500_000  # experiments x assignments simulated together


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
        contrast: the name of the contrast that was tested.
        effect: of its first condition, in standard deviations; of slopes, in standard deviations a day.
        autocorrelation: that was assumed.
        power: share of the experiments in which p was at the level or below; at no effect, the rate of false alarms.
        low: lower end of its 99 % Clopper-Pearson interval.
        high: upper end.
    """

    contrast: str
    effect: float
    autocorrelation: float
    power: float
    low: float
    high: float


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
        Of each contrast, the primary one first, one for each effect in their order.

    Raises:
        AnalysisError: the design has no test by this statistic.
    """
    test, simulations = scenario.test, scenario.simulations
    design.check_statistic(test.statistic)
    generator = np.random.Generator(np.random.PCG64(scenario.seed))
    rejections = np.zeros((len(design.contrasts), len(effects)), dtype=np.int64)
    signed = [-effect if test.direction == "decrease" else effect for effect in effects]
    timer, batch_size = timer or StageTimer(), _batch_size(design.schedule)
    for start in range(0, simulations, batch_size):
        with timer.stage(f"simulate {design.days} days of {design.bounds}, {start:,} of {simulations:,}"):
            number = min(batch_size, simulations - start)
            for experiment in simulate_experiments(design, scenario.assumptions, number, generator):
                p = experiment.p_values(signed, test)
                rejections += [[rejects(value, test.alpha) for value in row] for row in p.tolist()]
    return [
        power
        for contrast, row in zip(design.contrasts, rejections.tolist(), strict=True)
        for power in powers_of(contrast.name, scenario, effects, row)
    ]


def powers_of(contrast: str, scenario: Scenario, effects: Sequence[float], rejections: Sequence[int]) -> list[Power]:
    """The power at each effect.

    Args:
        contrast: the name of the contrast that was tested.
        scenario: what was simulated.
        effects: the sizes of the effects.
        rejections: in how many experiments each was found.
    """
    correlation, simulations = scenario.assumptions.autocorrelation, scenario.simulations
    return [
        Power(contrast, effect, correlation, number / simulations, *clopper_pearson(number, simulations))
        for effect, number in zip(effects, rejections, strict=True)
    ]


def _batch_size(schedule: Schedule) -> int:
    exact = schedule.count <= simulated_experiment.MAX_ENUMERATED
    return max(1, _CELLS // (schedule.count if exact else simulated_experiment.SAMPLE))
