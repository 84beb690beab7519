"""Describe a design before it begins: which schedules it admits, and what the app has to record of them."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Literal

import numpy as np
from pydantic import JsonValue

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.reference_set import GENERATOR, Schedule

DesignName = Literal["ABAB", "ALTERNATING"]
# The app's column is a Postgres integer.
MAX_SEED = 2**31 - 1

_ABAB = (False, True, False, True)
_TYPES = {False: "BASELINE", True: "INTERVENTION_A"}
_LABELS = {False: "baseline", True: "intervention_A"}
_BY_PHASES = "phase by phase, a length in proportion to the number of ways in which the later phases can follow it"
_BY_DAYS = "day by day, a condition in proportion to the number of ways in which the later days can follow it"


@dataclass(frozen=True)
class PlannedDesign:
    """A design with its bounds.

    Attributes:
        name: as the app calls it.
        schedule: every schedule that it admits, equally likely.
        randomization: what each phase records of it, in `interventionParams.randomization`.
    """

    name: DesignName
    schedule: Schedule
    randomization: dict[str, JsonValue]

    @property
    def days(self) -> int:
        """Days of the experiment."""
        return self.schedule.days

    @property
    def bounds(self) -> str:
        """The bounds in words, for a table."""
        if isinstance(self.schedule, PhaseSchedule):
            return f"{self.schedule.shortest[0]}-{self.schedule.longest[0]} days a phase"
        words = f"{self.schedule.treated_days} of {self.schedule.block} days"
        return words if self.schedule.longest_run >= self.days else f"{words}, runs of {self.schedule.longest_run}"

    @property
    def algorithm(self) -> str:
        """How a schedule is drawn, in words."""
        how = _BY_DAYS if isinstance(self.schedule, Alternation) else _BY_PHASES
        return f"{how}; numpy {GENERATOR}"

    def resized(self, days: int) -> "PlannedDesign":
        """The same design over other days; the longest phase and the treatment days grow in proportion.

        Raises:
            AnalysisError: the design does not exist with so many days.
        """
        if isinstance(self.schedule, PhaseSchedule):
            longest = round(self.schedule.longest[0] * days / self.days)
            return abab(days, self.schedule.shortest[0], longest)
        whole = self.schedule.block == self.days
        treated = round(self.schedule.treated_days * days / self.days) if whole else self.schedule.treated_days
        longest_run = None if self.schedule.longest_run >= self.days else self.schedule.longest_run
        return alternating(days, treated, None if whole else self.schedule.block, longest_run)


@dataclass(frozen=True)
class DrawnPhase:
    """A phase of a drawn schedule.

    Attributes:
        label: its label, as the app writes it.
        type: `BASELINE` or `INTERVENTION_A`.
        first_day: its first day, counted from 1.
        days: its days.
        starts: the date of its first day, None without a date to begin at.
    """

    label: str
    type: str
    first_day: int
    days: int
    starts: date | None


def abab(days: int, shortest: int, longest: int) -> PlannedDesign:
    """The design ABAB: four phases, each between two bounds.

    Raises:
        AnalysisError: no four phases within the bounds make so many days.
    """
    schedule = PhaseSchedule(days, _ABAB, (shortest,) * len(_ABAB), (longest,) * len(_ABAB))
    if schedule.count == 0:
        raise AnalysisError(
            f"no four phases of {shortest} to {longest} days make {days} days: "
            f"choose between {4 * shortest} and {4 * longest} days, or other bounds"
        )
    return PlannedDesign("ABAB", schedule, {"minDays": shortest, "maxDays": longest})


def alternating(days: int, treated_days: int, block_days: int | None, longest_run: int | None) -> PlannedDesign:
    """The design ALTERNATING: treatment and baseline days in any order that the scheme admits.

    Args:
        days: days of the experiment.
        treated_days: treatment days in each block.
        block_days: days of a block, None where all days are one block.
        longest_run: most days in a row under one condition, None without a bound.

    Raises:
        AnalysisError: the parts do not fit together; the message says which.
    """
    schedule = Alternation(days, treated_days, block_days or days, longest_run or days)
    recorded: dict[str, JsonValue] = {"scheme": "days", "treatedDays": treated_days}
    recorded |= {"blockDays": block_days} if block_days else {}
    recorded |= {"maxRunDays": longest_run} if longest_run else {}
    return PlannedDesign("ALTERNATING", schedule, recorded)


def smallest_p(schedule: Schedule, *, two_sided: bool) -> float:
    """The smallest p that a test over a schedule can give when every day has a value."""
    return min(1.0, (2 if two_sided else 1) / schedule.count)


def draw_schedule(design: PlannedDesign, seed: int, first_day: date | None = None) -> list[DrawnPhase]:
    """Draw a schedule: each that the design admits is as likely as any other.

    Args:
        design: the design.
        seed: of the draw, at most `MAX_SEED`; the same seed gives the same schedule.
        first_day: date of the first day, None to leave the dates out.

    Raises:
        AnalysisError: the seed does not fit into the app's column.
    """
    if not 0 <= seed <= MAX_SEED:
        raise AnalysisError(f"the seed {seed} is not between 0 and {MAX_SEED}, which the app's column holds")
    assignment = design.schedule.draw(np.random.Generator(np.random.PCG64(seed)), 1)[0].tolist()
    if isinstance(design.schedule, PhaseSchedule):
        runs = list(zip(design.schedule.treated, assignment, strict=True))
    else:
        runs = [(bool(treated), len(list(days))) for treated, days in groupby(assignment)]
    phases: list[DrawnPhase] = []
    numbers, day = {False: 0, True: 0}, 1
    for treated, days in runs:
        numbers[treated] += 1
        starts = None if first_day is None else first_day + timedelta(days=day - 1)
        phases.append(DrawnPhase(f"{_LABELS[treated]}_{numbers[treated]}", _TYPES[treated], day, days, starts))
        day += days
    return phases


def intervention_params(design: PlannedDesign, plan: dict[str, JsonValue], seed: int) -> dict[str, JsonValue]:
    """What each phase records in `interventionParams`, so that the analysis is planned and testable.

    Args:
        design: the design.
        plan: the parameters of the planned analysis.
        seed: of the draw.
    """
    return {"randomization": design.randomization, "analysis": {"type": "ABAB_RANDOMIZATION", **plan}, "seed": seed}
