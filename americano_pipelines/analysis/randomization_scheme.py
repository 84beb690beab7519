"""Read the recorded randomization scheme of a protocol and list the reasons against a verdict.

The scheme stands in the phases' `interventionParams.randomization`:

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

from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.registry import AbabParameters
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.phase_windows import MOST_DAYS
from americano_pipelines.statistics.reference_set import Case, Schedule

NOT_A_TEST = "not a randomisation test"
_ABAB_SWITCHES = 3
_REFUSED = {
    "MULTIPLE_BASELINE": "its switches are drawn across several learners, and a protocol here has one",
    "CHANGING_CRITERION": "its criteria are steps that nothing was drawn for",
}


@dataclass(frozen=True)
class RandomizationScheme:
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


def is_alternation(observations: Observations) -> bool:
    """Whether the design alternates from day to day."""
    return observations.extract.protocol.design == "ALTERNATING"


def read_scheme(observations: Observations, parameters: AbabParameters) -> RandomizationScheme:
    """Read what was drawn.

    Args:
        observations: the protocol's days.
        parameters: bounds that stand in for those that nobody recorded.

    Raises:
        AnalysisError: the design has no test here, an alternation has no recorded scheme, or what is recorded makes no
            sense.
    """
    design = observations.extract.protocol.design
    if design in _REFUSED:
        raise AnalysisError(f"a design of type {design} has no randomization test here: {_REFUSED[design]}")
    treated = [window.condition == "treatment" for window in observations.timeline.windows]
    schedule: Schedule | None
    if is_alternation(observations):
        schedule, recorded = _alternation(observations), True
        observed = tuple(np.repeat(np.array(treated, dtype=np.int64), observations.lengths).tolist())
        values = observations.days.values
    else:
        schedule, recorded = _phases(observations, parameters, tuple(treated))
        observed, values = observations.lengths, observations.days.with_switches
    testable = schedule is not None and schedule.count and schedule.fits(observed)
    return RandomizationScheme(
        schedule, recorded, observed, Case(values, schedule, observed) if schedule and testable else None
    )


def verdict_blockers(observations: Observations, drawn: RandomizationScheme, as_of_us: int) -> tuple[str, ...]:
    """What forbids a verdict whatever the numbers.

    Args:
        observations: the protocol's days.
        drawn: what was drawn.
        as_of_us: the instant that the data are of, microseconds since 1970 UTC.
    """
    reasons = []
    actual = ", ".join(map(str, observations.lengths))
    if drawn.schedule is None:
        reasons.append(f"{NOT_A_TEST}, for no drawing of the phases is recorded")
    elif is_alternation(observations) and any(observations.timeline.cut):
        reasons.append(f"{NOT_A_TEST}, for the condition changed within days, and whole days were drawn")
    elif not drawn.admissible:
        reasons.append(f"{NOT_A_TEST}, for phases of {actual} days could not have been drawn")
    elif observations.planned is None:
        reasons.append(
            f"{NOT_A_TEST}, for the planned days are not recorded of every phase, so the end may be a choice"
        )
    elif observations.planned != observations.lengths:
        planned = ", ".join(map(str, observations.planned))
        reasons.append(f"the phases were not kept as drawn ({planned} days planned, {actual} days kept)")
    conditions = [window.condition for window in observations.timeline.windows]
    switches = sum(previous != other for previous, other in pairwise(conditions))
    if observations.extract.protocol.design == "ABAB" and (switches < _ABAB_SWITCHES or switches < len(conditions) - 1):
        reasons.append(f"the design is ABAB, and its phases are {', '.join(conditions)}: it is not complete")
    if observations.timeline.gaps:
        gaps = ", ".join(f"{before} and {after}" for before, after in observations.timeline.gaps)
        reasons.append(f"time between phases belongs to none of them ({gaps}), and no such time could have been drawn")
    if as_of_us < observations.planned_end_us:
        end = datetime.fromtimestamp(observations.planned_end_us / 1e6, UTC)
        reasons.append(f"the plan is not over before {end:%Y-%m-%d}")
    return tuple(reasons)


def _phases(
    observations: Observations, parameters: AbabParameters, treated: tuple[bool, ...]
) -> tuple[PhaseSchedule | None, bool]:
    """The schedule of phases, and whether it is recorded."""
    cut, total = observations.timeline.cut, sum(observations.planned or observations.lengths)
    bounds = [(scheme.get("minDays"), scheme.get("maxDays")) for scheme in _recorded(observations)]
    if all(_is_days(days) for both in bounds for days in both):
        low, high = zip(*bounds, strict=True)
        return PhaseSchedule(total, treated, low, high, cut), True
    if parameters.min_days is None or parameters.max_days is None:
        return None, False
    number = len(treated)
    return PhaseSchedule(total, treated, (parameters.min_days,) * number, (parameters.max_days,) * number, cut), False


def _alternation(observations: Observations) -> Alternation:
    recorded = _recorded(observations)
    scheme, total = recorded[0], sum(observations.planned or observations.lengths)
    parts = [scheme.get("treatedDays"), scheme.get("blockDays", total), scheme.get("maxRunDays", total)]
    if (
        any(other != scheme for other in recorded)
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


def _recorded(observations: Observations) -> list[dict[str, Any]]:
    """What each phase records of its drawing, empty where it records nothing."""
    noted = [
        phase.parameters.get("randomization") if isinstance(phase.parameters, dict) else None
        for phase in observations.extract.phases
    ]
    return [scheme if isinstance(scheme, dict) else {} for scheme in noted]
