"""Bring all demo protocols into one form: what the tables record of an experiment, and its true daily outcomes."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.demo.data.design import Phase, daily_outcomes, phases, with_noise
from americano_pipelines.demo.data.design_layouts import Design
from americano_pipelines.demo.data.other_designs import OTHER_DESIGNS, DesignProtocol
from americano_pipelines.demo.data.protocols import PROTOCOLS, DemoProtocol

OUTCOME = "sessionPerformanceScore"
ALPHA = 0.05
_LABELS = {"BASELINE": "baseline", "INTERVENTION_A": "intervention_A", "INTERVENTION_B": "intervention_B"}


@dataclass(frozen=True)
class Experiment:
    """What the tables record of a demo protocol, and its true outcomes.

    Attributes:
        name: Short name, unique.
        title: Name that people read.
        hypothesis: What the learner expects.
        learner: Number of the learner, from 0.
        start: First day, from midnight UTC.
        design: The design, as the app's column has it.
        plan: The plan in words.
        seed: Seed of the drawing.
        phases: The phases as drawn.
        parameters: The `interventionParams` of each phase.
        outcomes: The true mean score of each day, in points; NaN on a day without study.
        open_ended: The last phase has no recorded end.
        group: The key of the group that it belongs to, None for none.
        truth: The effect that its verdict is about, in points; 0 for none.
        truth_words: The truth in words.
        improvement: 1 where more is better, -1 where less is.
    """

    name: str
    title: str
    hypothesis: str
    learner: int
    start: date
    design: Design
    plan: str
    seed: int
    phases: tuple[Phase, ...]
    parameters: tuple[dict[str, Any], ...]
    outcomes: NDArray[np.float64] = field(repr=False, compare=False)
    open_ended: bool
    group: str | None
    truth: float
    truth_words: str
    improvement: int = 1

    @property
    def days(self) -> int:
        """Planned days."""
        return sum(phase.days for phase in self.phases)

    @property
    def verdict(self) -> str:
        """The verdict that is true."""
        if not self.truth:
            return "not shown"
        return "benefit" if self.truth * self.improvement > 0 else "harm"

    @property
    def judged_as_group(self) -> bool:
        """Whether it has no test of its own."""
        return self.design == "MULTIPLE_BASELINE"


@cache
def experiments() -> tuple[Experiment, ...]:
    """All experiments of the demo, those of design ABAB first."""
    return (*map(_abab, PROTOCOLS), *map(_other, OTHER_DESIGNS))


def _abab(protocol: DemoProtocol) -> Experiment:
    drawn = phases(protocol)
    analysis = {
        "type": "ABAB_RANDOMIZATION",
        "direction": protocol.direction,
        "improvement": protocol.improvement,
        "alpha": ALPHA,
        # The experiments ended before the first sync, so none of their tests is planned.
        **({"group": protocol.group, "include": "declared"} if protocol.group else {}),
    }
    return Experiment(
        name=protocol.name,
        title=protocol.title,
        hypothesis=protocol.hypothesis,
        learner=protocol.learner,
        start=protocol.start,
        design="ABAB",
        plan=(
            f"Randomization test on daily means of {OUTCOME}, one-sided ({protocol.direction}), alpha .05;"
            f" {'more' if protocol.improvement == 'increase' else 'less'} is better. Statistic:"
            " mean of the treatment phase means minus mean of the baseline phase means. Reference set: all splits of"
            f" {protocol.total_days} days into four phases of {protocol.min_days} to {protocol.max_days} days."
        ),
        seed=protocol.seed,
        phases=drawn,
        parameters=tuple(
            {
                "randomization": {"minDays": protocol.min_days, "maxDays": protocol.max_days},
                "analysis": analysis,
                "seed": protocol.seed,
                "instruction": protocol.intervention if phase.treated else None,
            }
            for phase in drawn
        ),
        outcomes=daily_outcomes(protocol),
        open_ended=protocol.open_ended,
        group=protocol.group,
        truth=protocol.effect,
        truth_words=f"{protocol.effect:+g}" if protocol.effect else "no effect",
        improvement=1 if protocol.improvement == "increase" else -1,
    )


def _other(protocol: DesignProtocol) -> Experiment:
    layout, numbers = protocol.layout, Counter[str]()
    drawn = layout.draw(np.random.Generator(np.random.PCG64(protocol.seed)))
    own_phases, levels, first = [], [], protocol.start
    for phase in drawn:
        numbers[phase.kind] += 1
        label = f"{_LABELS[phase.kind]}_{numbers[phase.kind]}"
        own_phases.append(Phase(label, phase.kind, phase.kind != "BASELINE", first, phase.days))
        level = phase.parameters.get("criterion", protocol.base + protocol.effects.get(phase.kind, 0))
        levels += [level] * phase.days
        first = own_phases[-1].end
    analysis: dict[str, Any] = {
        "type": "MULTIPLE_BASELINE" if protocol.group else "ABAB_RANDOMIZATION",
        "direction": "increase",
        "improvement": "increase",
        "alpha": ALPHA,
    }
    analysis |= {"contrasts": [list(pair) for pair in protocol.contrasts]} if protocol.contrasts else {}
    analysis |= {"band": protocol.band} if protocol.band is not None else {}
    analysis |= {"group": protocol.group} if protocol.group else {}
    return Experiment(
        name=protocol.name,
        title=protocol.title,
        hypothesis=protocol.hypothesis,
        learner=protocol.learner,
        start=protocol.start,
        design=layout.design,
        plan=(
            f"Randomization test on daily means of {OUTCOME}, one-sided (increase), alpha .05; more is better."
            f" Statistic: {protocol.plan}. Reference set: all assignments that the recorded drawing admits."
        ),
        seed=protocol.seed,
        phases=tuple(own_phases),
        parameters=tuple(
            {
                **phase.parameters,
                "analysis": analysis,
                "seed": protocol.seed,
                "instruction": protocol.instructions.get(phase.kind),
            }
            for phase in drawn
        ),
        outcomes=with_noise(
            np.array(levels, dtype=np.float64),
            np.random.Generator(np.random.PCG64([protocol.seed, protocol.noise_seed, protocol.learner])),
            noise=protocol.noise,
            autocorrelation=protocol.autocorrelation,
            # Days without a value have no distance from a criterion, so with any there is no verdict.
            missed=layout.design != "CHANGING_CRITERION",
        ),
        open_ended=False,
        group=protocol.group,
        truth=protocol.truth,
        truth_words=protocol.truth_words,
    )
