"""Draw the phases of the demo's designs other than ABAB: what could be drawn, and what each phase records of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal

import numpy as np

from americano_pipelines.demo.data.design import admissible_splits

BASELINE = "BASELINE"
Design = Literal["ABAB", "ALTERNATING", "CHANGING_CRITERION", "MULTIPLE_BASELINE"]


@dataclass(frozen=True)
class DrawnPhase:
    """One phase as drawn.

    Attributes:
        kind: its type, as the app's column has it.
        days: its days.
        parameters: what it records in `interventionParams` beside the plan.
    """

    kind: str
    days: int
    parameters: dict[str, Any]


@dataclass(frozen=True)
class PhaseLayout:
    """Phases in a fixed order, each between two bounds: every split of the days is equally likely.

    Attributes:
        design: the design, as the app's column has it.
        kinds: the type of each phase.
        total_days: days of all phases.
        min_days: fewest days of a phase.
        max_days: most days of a phase.
        criteria: the criterion of each phase after the first, in outcome units; empty for none.
    """

    design: Design
    kinds: tuple[str, ...]
    total_days: int
    min_days: int
    max_days: int
    criteria: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator) -> list[DrawnPhase]:
        """Draw the phases."""
        splits = admissible_splits(self.total_days, self.min_days, self.max_days, len(self.kinds))
        lengths = splits[rng.integers(len(splits))]
        bounds = {"randomization": {"minDays": self.min_days, "maxDays": self.max_days}}
        stated: list[dict[str, float]] = [{}] * len(self.kinds)
        if self.criteria:
            stated = [{}, *({"criterion": criterion} for criterion in self.criteria)]
        return [
            DrawnPhase(kind, days, bounds | own) for kind, days, own in zip(self.kinds, lengths, stated, strict=True)
        ]


@dataclass(frozen=True)
class DayLayout:
    """Days that alternate between two conditions, in blocks of two with a day of each; phases before and after.

    Attributes:
        pair: the two conditions; the phase after is of the first.
        blocks: number of blocks.
        before: days of the baseline before the first block.
        after: days of the first condition after the last block.
    """

    pair: tuple[str, str]
    blocks: int
    before: int
    after: int = 0
    design: Design = "ALTERNATING"

    @property
    def total_days(self) -> int:
        """Days of the experiment."""
        return self.before + 2 * self.blocks + self.after

    def draw(self, rng: np.random.Generator) -> list[DrawnPhase]:
        """Draw the order of the days; neighbouring days of one condition are one phase."""
        order = [self.pair[place] for _ in range(self.blocks) for place in rng.permutation(2).tolist()]
        days: dict[str, Any] = {"scheme": "days", "treatedDays": 1, "blockDays": 2}
        if BASELINE not in self.pair:
            days = {"scheme": "days", "daysOf": dict.fromkeys(self.pair, 1), "blockDays": 2}
        alternating = [DrawnPhase(kind, len(list(run)), {"randomization": days}) for kind, run in groupby(order)]
        first, last = DrawnPhase(BASELINE, self.before, {}), DrawnPhase(self.pair[0], self.after, {})
        return [phase for phase in (first, *alternating, last) if phase.days]


@dataclass(frozen=True)
class StartLayout:
    """A case of a multiple baseline: all cases draw their starts together, any two at least some days apart.

    Attributes:
        case: number of the case, from 0.
        cases: number of cases, which draw with the same seed.
        total_days: days of the case.
        min_days: fewest days of a phase.
        distance: fewest days between two starts.
    """

    case: int
    cases: int
    total_days: int
    min_days: int
    distance: int
    design: Design = "MULTIPLE_BASELINE"

    def draw(self, rng: np.random.Generator) -> list[DrawnPhase]:
        """Draw the starts of all cases until they lie far enough apart, and return the phases of this case."""
        latest = self.total_days - self.min_days
        starts = [0] * self.cases
        while not _apart(starts, self.distance):
            starts = rng.integers(self.min_days, latest + 1, self.cases).tolist()
        bounds = {"minDays": self.min_days, "maxDays": latest, "staggerDays": self.distance}
        first = starts[self.case]
        return [
            DrawnPhase(BASELINE, first, {"randomization": bounds}),
            DrawnPhase("INTERVENTION_A", self.total_days - first, {"randomization": bounds}),
        ]


Layout = PhaseLayout | DayLayout | StartLayout


def _apart(starts: Sequence[int], distance: int) -> bool:
    return all(later - earlier >= distance for earlier, later in pairwise(sorted(starts)))
