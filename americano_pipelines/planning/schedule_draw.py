"""Draw a schedule of a design: its phases, what the app has to record of them, and what each contrast can show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.condition_contrasts import BASELINE, Contrast
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.planned_design import PlannedDesign
from americano_pipelines.statistics.criterion_schedules import CriterionSchedule
from americano_pipelines.statistics.holm_correction import holm
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.reference_set import Schedule
from americano_pipelines.statistics.start_schedules import StartSchedule

# The app's column is a Postgres integer.
MAX_SEED = 2**31 - 1

_LABELS = {"BASELINE": "baseline", "INTERVENTION_A": "intervention_A", "INTERVENTION_B": "intervention_B"}


@dataclass(frozen=True)
class DrawnPhase:
    """A phase of a drawn schedule.

    Attributes:
        label: its label, as the app writes it.
        type: its condition, such as `BASELINE` or `INTERVENTION_A`.
        first_day: its first day, counted from 1.
        days: its days.
        starts: the date of its first day, None without a date to begin at.
    """

    label: str
    type: str
    first_day: int
    days: int
    starts: date | None


@dataclass(frozen=True)
class ContrastReach:
    """What a contrast can show under a drawn schedule.

    Attributes:
        contrast: its name.
        assignments: how many it is tested over: those that agree on the days of all other conditions.
        smallest_p: the smallest p that its test can give when every day has a value.
        corrected_p: the same, for which the analysis judges it: after the primary contrast, corrected by Holm.
    """

    contrast: str
    assignments: int
    smallest_p: float
    corrected_p: float


def smallest_p(schedule: Schedule | StartSchedule, *, two_sided: bool) -> float:
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
    assignment = design.schedule.draw(np.random.Generator(np.random.PCG64(checked_seed(seed))), 1)[0].tolist()
    return phases_of(design, assignment, first_day)


def checked_seed(seed: int) -> int:
    """The seed of a draw, as it is.

    Raises:
        AnalysisError: it does not fit into the app's column.
    """
    if not 0 <= seed <= MAX_SEED:
        raise AnalysisError(f"the seed {seed} is not between 0 and {MAX_SEED}, which the app's column holds")
    return seed


def phases_of(design: PlannedDesign, assignment: Sequence[int], first_day: date | None = None) -> list[DrawnPhase]:
    """The phases of an assignment.

    Args:
        design: the design.
        assignment: the days of each phase, or for each day whether it is treated.
        first_day: date of the first day, None to leave the dates out.
    """
    return consecutive_phases(_runs(design, assignment), first_day)


def consecutive_phases(runs: Sequence[tuple[str, int]], first_day: date | None = None) -> list[DrawnPhase]:
    """Phases one after another, from the first day on.

    Args:
        runs: the condition and the days of each phase.
        first_day: date of the first day, None to leave the dates out.
    """
    drawn: list[DrawnPhase] = []
    numbers, day = dict.fromkeys(_LABELS, 0), 1
    for condition, days in runs:
        numbers[condition] += 1
        starts = None if first_day is None else first_day + timedelta(days=day - 1)
        drawn.append(DrawnPhase(f"{_LABELS[condition]}_{numbers[condition]}", condition, day, days, starts))
        day += days
    return drawn


def _runs(design: PlannedDesign, assignment: Sequence[int]) -> list[tuple[str, int]]:
    """The condition and the days of each phase."""
    if isinstance(design.schedule, PhaseSchedule):
        return list(zip(design.conditions, assignment, strict=True))
    treatment, other = design.conditions
    order = assignment[design.before : design.days - design.after]
    runs = [(treatment if treated else other, len(list(days))) for treated, days in groupby(order)]
    before, after = [(BASELINE, design.before)], [(treatment, design.after)]
    return [(condition, days) for condition, days in (*before, *runs, *after) if days]


def contrast_reaches(design: PlannedDesign, drawn: Sequence[DrawnPhase], *, two_sided: bool) -> list[ContrastReach]:
    """What each contrast of a drawn schedule can show, the primary one first.

    Args:
        design: the design.
        drawn: the phases that were drawn.
        two_sided: whether tests of means are.
    """
    lengths = [phase.days for phase in drawn]
    schedules = [design.contrast_schedule(contrast, lengths) for contrast in design.contrasts]
    # A changing criterion is tested for days nearer to it, so on one side.
    two_sided = two_sided and not isinstance(design.schedule, CriterionSchedule)
    smallest = [smallest_p(schedule, two_sided=two_sided) for schedule in schedules]
    # Holm's p falls with each of the others, so none is smaller than with all at their smallest.
    judged = [smallest[0], *holm(smallest)[1:]]
    return [
        ContrastReach(contrast.name, schedule.count, own, corrected)
        for contrast, schedule, own, corrected in zip(design.contrasts, schedules, smallest, judged, strict=True)
    ]


def intervention_params(
    design: PlannedDesign, drawn: Sequence[DrawnPhase], plan: dict[str, JsonValue], seed: int
) -> list[dict[str, JsonValue]]:
    """What each phase records in `interventionParams`, so that the analysis is planned and testable.

    Args:
        design: the design.
        drawn: its phases.
        plan: the parameters of the planned analysis, beside its contrasts.
        seed: of the draw.
    """
    analysis: dict[str, JsonValue] = {"type": "ABAB_RANDOMIZATION", **plan}
    if design.declared_contrasts:
        analysis["contrasts"] = [_pair(contrast) for contrast in design.declared_contrasts]
    recorded = []
    for place, phase in enumerate(drawn):
        own: dict[str, JsonValue] = {}
        if design.before < phase.first_day <= design.days - design.after:
            own["randomization"] = design.randomization
        if isinstance(design.schedule, CriterionSchedule) and design.schedule.criteria[place] is not None:
            own["criterion"] = design.schedule.criteria[place]
        recorded.append({**own, "analysis": analysis, "seed": seed})
    return recorded


def _pair(contrast: Contrast) -> JsonValue:
    return [contrast.first, contrast.second]
