"""Simulate the cases of a multiple baseline, and test them together as the analysis would."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from americano_pipelines.analysis.condition_contrasts import BASELINE, Contrast
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.planning import simulated_experiment
from americano_pipelines.planning.group_design import GroupDesign
from americano_pipelines.planning.planned_design import CONDITIONS
from americano_pipelines.planning.power_simulation import Power, Scenario, powers_of
from americano_pipelines.planning.simulated_experiment import Assumptions, PlannedTest, p_of, simulated_days
from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.joint_randomization import MultipleBaseline, look_up
from americano_pipelines.statistics.prefix_sums import Values, tolerance
from americano_pipelines.statistics.start_schedules import Starts

_TREATMENT = Contrast(CONDITIONS["B"], BASELINE)


@dataclass(frozen=True)
class SimulatedGroup:
    """The cases of a simulated experiment without an effect.

    Attributes:
        experiment: the days of the cases and the starts that were drawn.
        compared: the joint starts to compare with.
        observed_added: 1 where the drawn starts come on top of a sample, else 0.
    """

    experiment: MultipleBaseline
    compared: Starts
    observed_added: int

    def with_effect(self, effect: float) -> MultipleBaseline:
        """The same days with an effect on the treatment days of every case, in standard deviations."""
        days = zip(self.experiment.values, self.experiment.treated(), strict=True)
        return replace(self.experiment, values=tuple(values + effect * treated for values, treated in days))

    def p_values(self, effects: Sequence[float], test: PlannedTest) -> Values:
        """The p of the joint test with each effect, 1 where it cannot be tested; shape (effects,)."""
        starts = np.concatenate((np.array([self.experiment.starts]), self.compared))
        # An effect adds its share to what each assignment gives without one.
        without = look_up(self.experiment.tables(), starts)
        share = look_up(self.experiment.share_tables(), starts)
        ties = [tolerance(*self.with_effect(effect).values) for effect in effects]
        return np.array(
            [
                p_of(without + effect * share, tie, test, self.observed_added)
                for effect, tie in zip(effects, ties, strict=True)
            ]
        )


def simulate_groups(
    design: GroupDesign, assumptions: Assumptions, number: int, generator: np.random.Generator
) -> Iterator[SimulatedGroup]:
    """Simulate so many groups without an effect, each with joint starts of its own.

    Where the joint starts are sampled, the groups share the sample.
    """
    schedule = design.schedule
    exact = schedule.count <= simulated_experiment.MAX_ENUMERATED
    compared = (
        np.concatenate(list(schedule.blocks(simulated_experiment.MAX_ENUMERATED)))
        if exact
        else schedule.draw(generator, simulated_experiment.SAMPLE)
    )
    for starts in schedule.draw(generator, number).tolist():
        values = tuple(simulated_days(generator, assumptions, design.cases, design.days))
        yield SimulatedGroup(MultipleBaseline(values, schedule, tuple(starts)), compared, 0 if exact else 1)


def simulate_group_power(
    design: GroupDesign, scenario: Scenario, effects: Sequence[float], timer: StageTimer | None = None
) -> list[Power]:
    """Simulate groups and test each by its mean difference.

    Args:
        design: the design.
        scenario: the test, the days and the number of groups.
        effects: sizes of effects in standard deviations; in a test for a decrease they lower the outcome.
        timer: shows that it runs.

    Returns:
        One for each effect in their order.
    """
    test, simulations = scenario.test, scenario.simulations
    signed = [-effect if test.direction == "decrease" else effect for effect in effects]
    generator = np.random.Generator(np.random.PCG64(scenario.seed))
    rejections = np.zeros(len(effects), dtype=np.int64)
    with (timer or StageTimer()).stage(f"simulate {simulations:,} groups of {design.cases} cases"):
        for simulated in simulate_groups(design, scenario.assumptions, simulations, generator):
            rejections += [rejects(p, test.alpha) for p in simulated.p_values(signed, test).tolist()]
    return powers_of(_TREATMENT.name, scenario, effects, rejections.tolist())
