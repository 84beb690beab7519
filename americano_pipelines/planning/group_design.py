"""Describe a multiple baseline before it begins, and draw the starts of all its cases together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.condition_contrasts import BASELINE
from americano_pipelines.analysis.group_extract import MULTIPLE_BASELINE_DESIGN
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.planned_design import CONDITIONS
from americano_pipelines.planning.schedule_draw import DrawnPhase, checked_seed, consecutive_phases
from americano_pipelines.statistics.reference_set import GENERATOR
from americano_pipelines.statistics.start_schedules import StartSchedule

_MIN_CASES = 2


@dataclass(frozen=True)
class GroupDesign:
    """A multiple baseline: a baseline and then a treatment in each case, over the same number of days.

    Attributes:
        schedule: the joint starts that it admits, equally likely.
        randomization: what each phase of each case records of it, in `interventionParams.randomization`.
    """

    schedule: StartSchedule
    randomization: dict[str, JsonValue]

    @property
    def cases(self) -> int:
        """The number of cases."""
        return len(self.schedule.days)

    @property
    def days(self) -> int:
        """Days of each case."""
        return self.schedule.days[0]

    @property
    def algorithm(self) -> str:
        """How the starts are drawn, in words."""
        if self.schedule.permuted:
            fixed = all(first == last for first, last in self.schedule.windows)
            how = "the cases in a random order over " + ("fixed starts" if fixed else "windows, and a start in each")
        elif self.schedule.distance:
            how = "day by day, a start in proportion to the number of ways in which the other cases can follow it"
        else:
            how = "the start of each case on its own"
        return f"{how}; numpy {GENERATOR}"


@dataclass(frozen=True)
class DrawnCase:
    """A case of a drawn multiple baseline.

    Attributes:
        case: its number, from 1.
        phases: its baseline and its treatment.
    """

    case: int
    phases: tuple[DrawnPhase, ...]


def drawn_starts(cases: int, days: int, shortest: int, longest: int, distance: int = 0) -> GroupDesign:
    """A multiple baseline in which each case draws its start within the same bounds.

    Args:
        cases: number of cases.
        days: days of each case.
        shortest: fewest days of a phase.
        longest: most days of a phase.
        distance: fewest days between the starts of any two cases; 0 where each draws on its own.

    Raises:
        AnalysisError: there are too few cases, or no such starts.
    """
    _check_cases(cases)
    first, last = max(shortest, days - longest), min(longest, days - shortest)
    if first > last:
        raise AnalysisError(
            f"no two phases of {shortest} to {longest} days make {days} days: choose between {2 * shortest} and "
            f"{2 * longest} days, or other bounds"
        )
    schedule = StartSchedule((days,) * cases, ((first, last),) * cases, distance=distance)
    if schedule.count == 0:
        raise AnalysisError(
            f"no starts of {cases} cases from day {first + 1} to {last + 1} lie {distance} days apart: choose more "
            "days, fewer cases or a smaller distance"
        )
    recorded: dict[str, JsonValue] = {"minDays": shortest, "maxDays": longest}
    return GroupDesign(schedule, recorded | ({"staggerDays": distance} if distance else {}))


def permuted_cases(days: int, windows: Sequence[tuple[int, int]]) -> GroupDesign:
    """A multiple baseline whose cases are permuted over windows, with a start drawn in each.

    Windows of one length are fixed starts (Wampold and Worsham 1986), others those of Koehler and Levin (1998).

    Args:
        days: days of each case.
        windows: fewest and most baseline days of each window, one after another.

    Raises:
        AnalysisError: there are too few windows, or they overlap or do not fit into the days.
    """
    _check_cases(len(windows))
    schedule = StartSchedule((days,) * len(windows), tuple(windows), permuted=True)
    fixed = all(first == last for first, last in windows)
    stated: list[JsonValue] = [first if fixed else [first, last] for first, last in windows]
    return GroupDesign(schedule, {"scheme": "cases", "baselineDays": stated})


def draw_group(design: GroupDesign, seed: int, first_day: date | None = None) -> list[DrawnCase]:
    """Draw the starts of all cases: each joint assignment is as likely as any other.

    Args:
        design: the design.
        seed: of the joint draw, at most `MAX_SEED`; the same seed gives the same starts.
        first_day: date of the first day of all cases, None to leave the dates out.

    Raises:
        AnalysisError: the seed does not fit into the app's column.
    """
    starts = design.schedule.draw(np.random.Generator(np.random.PCG64(checked_seed(seed))), 1)[0].tolist()
    return [
        DrawnCase(
            number,
            tuple(consecutive_phases([(BASELINE, start), (CONDITIONS["B"], design.days - start)], first_day)),
        )
        for number, start in enumerate(starts, 1)
    ]


def group_params(design: GroupDesign, group: str, plan: dict[str, JsonValue], seed: int) -> dict[str, JsonValue]:
    """What each phase of each case records in `interventionParams`, so that the joint test is planned.

    Args:
        design: the design.
        group: the key of the group; spaces at its ends are left out, as the analysis does.
        plan: the parameters of the planned analysis.
        seed: of the joint draw.

    Raises:
        AnalysisError: the key is empty.
    """
    if not (key := group.strip()):
        raise AnalysisError("the key of a group is empty: name it, or its cases make no group")
    return {
        "randomization": design.randomization,
        "analysis": {"type": MULTIPLE_BASELINE_DESIGN, "group": key, **plan},
        "seed": seed,
    }


def _check_cases(number: int) -> None:
    if number < _MIN_CASES:
        raise AnalysisError(f"a multiple baseline has at least {_MIN_CASES} cases, not {number}")
