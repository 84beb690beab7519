"""Read the recorded randomization scheme of a multiple baseline and list the reasons against a verdict."""

# The phases of every protocol of the group record the scheme in `interventionParams.randomization`:
#
# - Each case drew its start for itself: each phase has the bounds of its own length, `{"minDays": 7, "maxDays": 21}`,
#   as in a protocol that is tested alone. With `"staggerDays": 3` in every phase, any two starts lie 3 days apart.
# - The cases were permuted over fixed start points or windows: all phases of all protocols have the same
#   `{"scheme": "cases", "baselineDays": [7, 14, 21]}`, or `[[5, 9], [13, 16], [20, 24]]`, days of baseline.

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from americano_pipelines.analysis.alternation_scheme import recorded_schemes, whole_days
from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.group_extract import MULTIPLE_BASELINE_DESIGN
from americano_pipelines.analysis.randomization_scheme import NOT_A_TEST, design_of, on_planned_days
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.joint_randomization import MultipleBaseline
from americano_pipelines.statistics.start_schedules import StartSchedule

_PHASES = ("baseline", "treatment")
_MIN_CASES = 2
_HELP = 'record minDays and maxDays of each phase, or {"scheme": "cases", "baselineDays": [...]} in all of them'


@dataclass(frozen=True)
class JointScheme:
    """The joint starts that could have been drawn, and those that were.

    Attributes:
        schedule: the set of joint starts, None when none is recorded.
        experiment: the days with the schedule, to be tested; None when there is nothing to test.
        problem: why there is nothing to test; None where there is.
    """

    schedule: StartSchedule | None
    experiment: MultipleBaseline | None
    problem: str | None = None

    @property
    def words(self) -> str:
        """What was drawn, for the methods paragraph."""
        if self.schedule is None:
            return "no drawing is recorded"
        if self.schedule.permuted:
            fixed = all(first == last for first, last in self.schedule.windows)
            what = "fixed start points" if fixed else "windows, with a start drawn within each"
            return f"the cases were permuted over {what}"
        apart = (
            f", any two at least {self.schedule.distance} days apart" if self.schedule.distance else " independently"
        )
        return f"each case drew its start within its own bounds{apart}"


def read_joint_scheme(cases: Sequence[Observations]) -> JointScheme:
    """Read the scheme of a group; what cannot be tested is no error, and `problem` says why.

    Args:
        cases: the days of each protocol.
    """
    if problem := not_comparable(cases):
        return JointScheme(None, None, problem)
    schedule = None
    try:
        schedule = _schedule(cases)
        values = [on_planned_days(case.days.with_switches, sum(case.lengths_as_drawn)) for case in cases]
        starts, cut = tuple(case.lengths_as_drawn[0] for case in cases), tuple(case.timeline.cut[1] for case in cases)
        experiment = MultipleBaseline(tuple(values), schedule, starts, cut)
        experiment.contrasts()
    except AnalysisError as error:
        return JointScheme(schedule, None, str(error))
    return JointScheme(schedule, experiment)


def joint_blockers(cases: Sequence[Observations], scheme: JointScheme, as_of_us: int) -> tuple[str, ...]:
    """The reasons against a verdict, whatever the numbers are.

    Args:
        cases: the days of each protocol.
        scheme: the scheme.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
    """
    reasons = [
        f"the design of {case.extract.protocol.title} is {design_of(case) or 'not stated'}, not "
        f"{MULTIPLE_BASELINE_DESIGN}"
        for case in cases
        if design_of(case) != MULTIPLE_BASELINE_DESIGN
    ]
    if scheme.problem is not None:
        reasons.append(scheme.problem)
    elif scheme.experiment is not None and not scheme.experiment.admissible:
        drawn = ", ".join(map(str, scheme.experiment.starts))
        reasons.append(f"{NOT_A_TEST}, for baselines of {drawn} days could not have been drawn")
    if unplanned := [case.extract.protocol.title for case in cases if case.planned is None]:
        reasons.append(
            f"{NOT_A_TEST}, for the planned days are not recorded of every phase of {', '.join(unplanned)}, so the end "
            "may be a choice"
        )
    if gaps := [case.extract.protocol.title for case in cases if case.timeline.gaps]:
        reasons.append(f"time between the phases of {', '.join(gaps)} belongs to none of them")
    ends_us = max(case.planned_end_us for case in cases)
    if as_of_us < ends_us:
        reasons.append(f"the plan is not over before {datetime.fromtimestamp(ends_us / 1e6, UTC):%Y-%m-%d}")
    return tuple(reasons)


def not_comparable(cases: Sequence[Observations]) -> str | None:
    """Why these cases make no multiple baseline, whatever was drawn; None where they do."""
    if len(cases) < _MIN_CASES:
        return f"a multiple baseline has at least {_MIN_CASES} cases, and this group has {len(cases)}"
    for case in cases:
        conditions = tuple(window.condition for window in case.timeline.windows)
        if conditions != _PHASES:
            named = ", ".join(window.type for window in case.timeline.windows)
            return (
                f"each case of a multiple baseline has a baseline and then a treatment, and "
                f"{case.extract.protocol.title} has {named}"
            )
    if len(kinds := {kind for case in cases for kind in case.timeline.interventions}) > 1:
        return f"{' and '.join(sorted(kinds))} are different treatments, and are not pooled"
    return None


def _schedule(cases: Sequence[Observations]) -> StartSchedule:
    """The schedule that all phases record.

    Raises:
        AnalysisError: they record none, different ones, or one that cannot be.
    """
    recorded = [recorded_schemes(case) for case in cases]
    days = tuple(sum(case.lengths_as_drawn) for case in cases)
    flat = [scheme for of_case in recorded for scheme in of_case]
    if any(scheme.get("scheme") is not None for scheme in flat):
        if any(scheme != flat[0] for scheme in flat):
            raise AnalysisError("no joint drawing is recorded: the phases of the group record different schemes")
        return StartSchedule(days, _baseline_windows(flat[0]), permuted=True)
    distances = {_distance(scheme) for scheme in flat}
    if len(distances) > 1:
        raise AnalysisError("no joint drawing is recorded: staggerDays is not the same in every phase of the group")
    titles = [case.extract.protocol.title for case in cases]
    windows = [_window(title, of_case, total) for title, of_case, total in zip(titles, recorded, days, strict=True)]
    return StartSchedule(days, tuple(windows), distance=distances.pop())


def _distance(scheme: dict[str, Any]) -> int:
    stated = scheme.get("staggerDays", 0)
    days = whole_days(stated)
    if days is None or days < 0:
        raise AnalysisError(f"staggerDays is {reprlib.repr(stated)}: a number of whole days is needed")
    return days


def _window(title: str, schemes: Sequence[dict[str, Any]], total: int) -> tuple[int, int]:
    """First and last number of baseline days that a case could have drawn."""
    bounds = [whole_days(scheme.get(name)) for scheme in schemes for name in ("minDays", "maxDays")]
    low, high, low_treated, high_treated = bounds
    if low is None or high is None or low_treated is None or high_treated is None:
        raise AnalysisError(f"no drawing is recorded of {title}: {_HELP}")
    first, last = max(low, total - high_treated), min(high, total - low_treated)
    if first > last:
        raise AnalysisError(f"no phases of {title} within the recorded bounds make {total} days: check both")
    return first, last


def _baseline_windows(scheme: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    stated = scheme.get("baselineDays")
    windows = [_pair(item) for item in stated] if isinstance(stated, list) else []
    complete = [window for window in windows if window is not None]
    if scheme.get("scheme") != "cases" or not complete or len(complete) != len(windows):
        raise AnalysisError(f"the recorded drawing is not understood ({reprlib.repr(scheme)}): {_HELP}")
    return tuple(sorted(complete))


def _pair(item: object) -> tuple[int, int] | None:
    days = [whole_days(part) for part in (item if isinstance(item, list) else [item, item])]
    if len(days) != len(_PHASES) or days[0] is None or days[1] is None:
        return None
    return days[0], days[1]
