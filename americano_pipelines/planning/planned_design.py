"""Describe a design before it begins: its conditions, and which schedules it admits."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Literal

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.condition_contrasts import BASELINE, Contrast
from americano_pipelines.analysis.randomization_scheme import contrast_schedule
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.criterion_schedules import CriterionSchedule
from americano_pipelines.statistics.outcome_statistics import Statistic, evaluator
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.reference_set import GENERATOR, Schedule

AppDesign = Literal["ABAB", "ALTERNATING", "CHANGING_CRITERION"]
"""A design as the app's column has it."""

# The letters of a design in the literature: A is the baseline.
CONDITIONS = {"A": BASELINE, "B": "INTERVENTION_A", "C": "INTERVENTION_B"}
_TREATMENT = Contrast("INTERVENTION_A", BASELINE)
_MIN_PHASES = 4  # three switches, without which the analysis gives no verdict
_BY_PHASES = "phase by phase, a length in proportion to the number of ways in which the later phases can follow it"
_BY_DAYS = "day by day, a condition in proportion to the number of ways in which the later days can follow it"


@dataclass(frozen=True)
class PlannedDesign:
    """A design with its bounds.

    Attributes:
        name: as people call it, such as ABAC.
        recorded_as: as the app's column has it.
        schedule: every schedule that it admits, equally likely.
        randomization: what each phase that is drawn records of it, in `interventionParams.randomization`.
        conditions: the type of each phase; of an alternation those of a treatment day and of another day.
        contrasts: the conditions that are compared, the primary contrast first.
        before: baseline days before those that alternate.
        after: days of the treatment after them.
    """

    name: str
    recorded_as: AppDesign
    schedule: Schedule
    randomization: dict[str, JsonValue]
    conditions: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    before: int = 0
    after: int = 0

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
        words += "" if self.schedule.longest_run >= self.days else f", runs of {self.schedule.longest_run}"
        words += f", {self.before} days before" if self.before else ""
        return f"{words}, {self.after} days after" if self.after else words

    @property
    def algorithm(self) -> str:
        """How a schedule is drawn, in words."""
        how = _BY_DAYS if isinstance(self.schedule, Alternation) else _BY_PHASES
        return f"{how}; numpy {GENERATOR}"

    @property
    def declared_contrasts(self) -> tuple[Contrast, ...]:
        """The contrasts that the plan has to declare: none where one intervention is compared with the baseline."""
        return self.contrasts if len({*self.conditions} - {BASELINE}) > 1 else ()

    def contrast_schedule(self, contrast: Contrast, assignment: Sequence[int]) -> Schedule:
        """The assignments that a contrast is tested over, if this one was drawn.

        Args:
            contrast: the conditions that are compared.
            assignment: the days of each phase, or for each day whether it is treated.
        """
        if isinstance(self.schedule, Alternation | CriterionSchedule):
            return self.schedule
        return contrast_schedule(contrast, self.conditions, assignment, (self.schedule.shortest, self.schedule.longest))

    def check_statistic(self, statistic: Statistic) -> None:
        """Refuse a statistic by which the analysis does not compare such conditions.

        Raises:
            AnalysisError: it is one; the message says why.
        """
        if isinstance(self.schedule, CriterionSchedule) and statistic != "mean":
            raise AnalysisError(f"a changing criterion is tested by the distance from it, not by {statistic}")
        (assignment,) = next(iter(self.schedule.blocks(1))).tolist()[:1]
        for contrast in self.contrasts:
            evaluator(statistic, self.contrast_schedule(contrast, assignment), np.zeros(self.days))

    def resized(self, days: int) -> "PlannedDesign":
        """The same design over other days; the longest phase and the treatment days grow in proportion.

        Raises:
            AnalysisError: the design does not exist with so many days.
        """
        if isinstance(self.schedule, PhaseSchedule):
            longest = round(self.schedule.longest[0] * days / self.days)
            return phase_design(self.name, days, self.schedule.shortest[0], longest, self.contrasts)
        alternate, resized = self.days - self.before - self.after, days - self.before - self.after
        whole, treated = self.schedule.block == alternate, self.schedule.treated_days
        return alternating(
            days,
            round(treated * resized / alternate) if whole else treated,
            None if whole else self.schedule.block,
            None if self.schedule.longest_run >= self.days else self.schedule.longest_run,
            contrast=self.contrasts[0],
            before=self.before,
            after=self.after,
        )

    def widened(self, shortest: int) -> "PlannedDesign":
        """The same phases in the same days, each of at least so many days, without another bound on the longest.

        Raises:
            AnalysisError: the design does not exist with these bounds, or has no phases.
        """
        longest = self.days - (len(self.conditions) - 1) * shortest
        return phase_design(self.name, self.days, shortest, longest, self.contrasts)


def phase_design(
    name: str, days: int, shortest: int, longest: int, contrasts: Sequence[Contrast] = ()
) -> PlannedDesign:
    """A design of phases, each between two bounds.

    Args:
        name: its phases, such as ABAB or ABAC: A is the baseline, B and C are interventions.
        days: days of the experiment.
        shortest: fewest days of a phase.
        longest: most days of a phase.
        contrasts: the conditions that are compared, the primary contrast first; needed of two interventions.

    Raises:
        AnalysisError: this is no design, or no phases within the bounds make so many days.
    """
    if len(name) < _MIN_PHASES or not {*name} <= CONDITIONS.keys() or any(a == b for a, b in pairwise(name)):
        raise AnalysisError(
            f"{name} is no design: name {_MIN_PHASES} phases or more, each another condition than the one before; "
            "A is the baseline, B and C are interventions"
        )
    conditions = tuple(CONDITIONS[letter] for letter in name)
    contrasts = _checked(name, conditions, contrasts)
    treated = tuple(condition == contrasts[0].first for condition in conditions)
    number = len(conditions)
    schedule = PhaseSchedule(days, treated, (shortest,) * number, (longest,) * number)
    _check_count(schedule)
    return PlannedDesign(name, "ABAB", schedule, _bounds(shortest, longest), conditions, contrasts)


def _checked(name: str, conditions: Sequence[str], contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """The contrasts of a design, that of its only intervention if none is declared."""
    interventions = sorted({*conditions} - {BASELINE})
    if not contrasts and len(interventions) > 1:
        raise AnalysisError(
            f"{name} has two interventions: declare the contrasts, the primary one first, "
            f"such as {interventions[1]}-{BASELINE if BASELINE in conditions else interventions[0]}"
        )
    if len(interventions) == 1 and any(contrast != Contrast(interventions[0], BASELINE) for contrast in contrasts):
        raise AnalysisError(f"{name} compares {interventions[0]} with {BASELINE}, and has no other contrast")
    if absent := sorted({side for pair in contrasts for side in (pair.first, pair.second)} - {*conditions}):
        raise AnalysisError(f"no phase of {name} is {' or '.join(absent)}, so it cannot be compared")
    return tuple(contrasts) or (Contrast(interventions[0], BASELINE),)


def alternating(
    days: int,
    treated_days: int,
    block_days: int | None,
    longest_run: int | None,
    *,
    contrast: Contrast = _TREATMENT,
    before: int = 0,
    after: int = 0,
) -> PlannedDesign:
    """The design ALTERNATING: days of two conditions in any order that the scheme admits.

    Args:
        days: days of the experiment.
        treated_days: days of the first condition in each block.
        block_days: days of a block, None where all days that alternate are one block.
        longest_run: most days in a row under one condition, None without a bound.
        contrast: the two conditions.
        before: baseline days before those that alternate.
        after: days of the first condition after them.

    Raises:
        AnalysisError: the parts do not fit together; the message says which.
    """
    if unknown := sorted({contrast.first, contrast.second} - {*CONDITIONS.values()}):
        raise AnalysisError(f"{' and '.join(unknown)} is none of {', '.join(CONDITIONS.values())}")
    alternate = days - before - after
    if alternate < 1:
        raise AnalysisError(f"{before} days before and {after} after leave none of {days} days to alternate")
    held = (True,) * before + (False,) * alternate + (True,) * after
    block = block_days or alternate
    schedule = Alternation(days, treated_days, block, longest_run or days, held if before or after else ())
    recorded: dict[str, JsonValue] = {"scheme": "days"}
    if contrast.second == BASELINE:
        recorded["treatedDays"] = treated_days
    else:
        recorded["daysOf"] = {contrast.first: treated_days, contrast.second: block - treated_days}
    recorded |= {"blockDays": block_days} if block_days else {}
    recorded |= {"maxRunDays": longest_run} if longest_run else {}
    conditions = (contrast.first, contrast.second)
    return PlannedDesign("ALTERNATING", "ALTERNATING", schedule, recorded, conditions, (contrast,), before, after)


def changing_criterion(days: int, shortest: int, longest: int, criteria: Sequence[float]) -> PlannedDesign:
    """The design CHANGING_CRITERION: a baseline, then a phase of each criterion, each between two bounds.

    Args:
        days: days of the experiment.
        shortest: fewest days of a phase.
        longest: most days of a phase.
        criteria: the criterion of each phase after the baseline, in outcome units.

    Raises:
        AnalysisError: the criteria lead no way or are not finite, or no phases within the bounds make so many days.
    """
    if not all(map(isfinite, criteria)):
        raise AnalysisError("a criterion is a finite number")
    if not criteria or criteria[0] == criteria[-1] or any(before == after for before, after in pairwise(criteria)):
        raise AnalysisError(
            "a changing criterion needs at least two criteria, each another than the one before, and the last another "
            "than the first"
        )
    number = len(criteria) + 1
    treated, bounds = (False,) + (True,) * len(criteria), ((shortest,) * number, (longest,) * number)
    schedule = CriterionSchedule(days, treated, *bounds, criteria=(None, *criteria))
    _check_count(schedule)
    conditions = (BASELINE,) + (_TREATMENT.first,) * len(criteria)
    name: AppDesign = "CHANGING_CRITERION"
    return PlannedDesign(name, name, schedule, _bounds(shortest, longest), conditions, (_TREATMENT,))


def _check_count(schedule: PhaseSchedule) -> None:
    """Refuse bounds within which no phases make the days."""
    number, shortest, longest = len(schedule.treated), schedule.shortest[0], schedule.longest[0]
    if schedule.count == 0:
        raise AnalysisError(
            f"no {number} phases of {shortest} to {longest} days make {schedule.days} days: "
            f"choose between {number * shortest} and {number * longest} days, or other bounds"
        )


def _bounds(shortest: int, longest: int) -> dict[str, JsonValue]:
    return {"minDays": shortest, "maxDays": longest}
