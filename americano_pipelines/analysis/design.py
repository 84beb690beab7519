"""What could have been drawn in a protocol, what was, and what objects to a verdict.

Here belong reading the recorded drawing and comparing the phases with it. The drawing stands in the phases'
`interventionParams.randomization`:

- phases: in each phase the bounds of its own length, `{"minDays": 7, "maxDays": 21}`; every division of the planned
  days into phases within them was as likely as any other.
- a design ALTERNATING: in all phases the same scheme, such as `{"scheme": "days", "treatedDays": 1, "blockDays": 2,
  "maxRunDays": 2}`: so many treatment days in each block of so many days, and at most so many days in a row under one
  condition. Without `blockDays` all days are one block; without `maxRunDays` runs have no bound. A phase is then a run
  of days under one condition, however short.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

from americano_pipelines.analysis.config import AbabParameters
from americano_pipelines.analysis.observations import Observations
from americano_pipelines.errors import AnalysisError
from americano_pipelines.research.alternation import Alternation
from americano_pipelines.research.cases import Case
from americano_pipelines.research.reference import Schedule
from americano_pipelines.research.schedules import PhaseSchedule
from americano_pipelines.research.windows import MOST_DAYS

NOT_A_TEST = "not a randomisation test"
_ABAB_SWITCHES = 3
_REFUSED = {
    "MULTIPLE_BASELINE": "its switches are drawn across several learners, and a protocol here has one",
    "CHANGING_CRITERION": "its criteria are steps that nothing was drawn for",
}


@dataclass(frozen=True)
class Drawing:
    """A drawing and what came of it.

    Attributes:
        schedule: what could have been drawn, None when nobody recorded it: there is no default.
        recorded: whether it is recorded with the phases, not given with the request.
        observed: phase lengths in days; of an alternation, for each day 1 for treatment and 0 for baseline.
        case: the days with the schedule, to be tested; None without a schedule, or where what was observed is no plan
            of its days, or nothing could have been drawn at all.
    """

    schedule: Schedule | None
    recorded: bool
    observed: tuple[int, ...]
    case: Case | None

    @property
    def source(self) -> str:
        """Where the schedule is from."""
        if self.schedule is None:
            return "nowhere"
        return "recorded with the phases" if self.recorded else "given with the request, so this is exploratory"

    @property
    def admissible(self) -> bool:
        """Whether what was observed could have been drawn."""
        return self.schedule is not None and self.schedule.contains(self.observed)


def is_alternation(seen: Observations) -> bool:
    """Whether the design alternates from day to day."""
    return seen.extract.protocol.design == "ALTERNATING"


def drawing(seen: Observations, asked: AbabParameters) -> Drawing:
    """Read what was drawn.

    Args:
        seen: the protocol's days.
        asked: bounds that stand in for those that nobody recorded.

    Raises:
        AnalysisError: the design has no test here, an alternation has no recorded scheme, or what is recorded makes no
            sense.
    """
    design = seen.extract.protocol.design
    if design in _REFUSED:
        raise AnalysisError(f"a design of type {design} has no randomization test here: {_REFUSED[design]}")
    treated = [window.condition == "treatment" for window in seen.timeline.windows]
    schedule: Schedule | None
    if is_alternation(seen):
        schedule, recorded = _alternation(seen), True
        observed = tuple(np.repeat(np.array(treated, dtype=np.int64), seen.lengths).tolist())
        values = seen.days.values
    else:
        schedule, recorded = _phases(seen, asked, tuple(treated))
        observed, values = seen.lengths, seen.days.with_switches
    testable = schedule is not None and schedule.count and schedule.fits(observed)
    return Drawing(schedule, recorded, observed, Case(values, schedule, observed) if schedule and testable else None)


def objections(seen: Observations, drawn: Drawing, as_of_us: int) -> tuple[str, ...]:
    """What forbids a verdict whatever the numbers.

    Args:
        seen: the protocol's days.
        drawn: what was drawn.
        as_of_us: the instant that the data are of, microseconds since 1970 UTC.
    """
    found = []
    actual = ", ".join(map(str, seen.lengths))
    if drawn.schedule is None:
        found.append(f"{NOT_A_TEST}, for no drawing of the phases is recorded")
    elif is_alternation(seen) and any(seen.timeline.cut):
        found.append(f"{NOT_A_TEST}, for the condition changed within days, and whole days were drawn")
    elif not drawn.admissible:
        found.append(f"{NOT_A_TEST}, for phases of {actual} days could not have been drawn")
    elif seen.planned is None:
        found.append(f"{NOT_A_TEST}, for the planned days are not recorded of every phase, so the end may be a choice")
    elif seen.planned != seen.lengths:
        planned = ", ".join(map(str, seen.planned))
        found.append(f"the phases were not kept as drawn ({planned} days planned, {actual} days kept)")
    conditions = [window.condition for window in seen.timeline.windows]
    switches = sum(one != other for one, other in pairwise(conditions))
    if seen.extract.protocol.design == "ABAB" and (switches < _ABAB_SWITCHES or switches < len(conditions) - 1):
        found.append(f"the design is ABAB, and its phases are {', '.join(conditions)}: it is not complete")
    if seen.timeline.gaps:
        gaps = ", ".join(f"{before} and {after}" for before, after in seen.timeline.gaps)
        found.append(f"time between phases belongs to none of them ({gaps}), and no such time could have been drawn")
    if as_of_us < seen.planned_end_us:
        end = datetime.fromtimestamp(seen.planned_end_us / 1e6, UTC)
        found.append(f"the plan is not over before {end:%Y-%m-%d}")
    return tuple(found)


def _phases(seen: Observations, asked: AbabParameters, treated: tuple[bool, ...]) -> tuple[PhaseSchedule | None, bool]:
    """The schedule of phases, and whether it is recorded."""
    cut, total = seen.timeline.cut, sum(seen.planned or seen.lengths)
    bounds = [(one.get("minDays"), one.get("maxDays")) for one in _recorded(seen)]
    if all(_is_days(days) for both in bounds for days in both):
        low, high = zip(*bounds, strict=True)
        return PhaseSchedule(total, treated, low, high, cut), True
    if asked.min_days is None or asked.max_days is None:
        return None, False
    number = len(treated)
    return PhaseSchedule(total, treated, (asked.min_days,) * number, (asked.max_days,) * number, cut), False


def _alternation(seen: Observations) -> Alternation:
    recorded = _recorded(seen)
    scheme, total = recorded[0], sum(seen.planned or seen.lengths)
    parts = [scheme.get("treatedDays"), scheme.get("blockDays", total), scheme.get("maxRunDays", total)]
    if (
        any(one != scheme for one in recorded)
        or scheme.get("scheme") != "days"
        or not all(_is_days(days) for days in parts)
    ):
        raise AnalysisError(
            "a design of type ALTERNATING has no randomization test without its scheme: record it in "
            'interventionParams.randomization of all its phases, such as {"scheme": "days", "treatedDays": 1, '
            '"blockDays": 2}'
        )
    return Alternation(total, *parts)


def _is_days(value: object) -> bool:
    """Whether a recorded number is one of days; true and false are no numbers."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST_DAYS


def _recorded(seen: Observations) -> list[dict[str, Any]]:
    """What each phase records of its drawing, empty where it records nothing."""
    noted = [
        phase.parameters.get("randomization") if isinstance(phase.parameters, dict) else None
        for phase in seen.extract.phases
    ]
    return [one if isinstance(one, dict) else {} for one in noted]
