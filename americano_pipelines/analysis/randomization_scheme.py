"""Read the recorded randomization scheme of a protocol and list the reasons against a verdict.

The phases record the scheme in `interventionParams.randomization`:

- Phases: each phase has the bounds of its own length, `{"minDays": 7, "maxDays": 21}`. Every division of the planned
  days into phases within the bounds was equally likely.
- Design ALTERNATING: all phases have the same scheme, such as `{"scheme": "days", "treatedDays": 1, "blockDays": 2,
  "maxRunDays": 2}`: the number of treatment days in each block, the days of a block, and the most days in a row under
  one condition. Without `blockDays` all days are one block; without `maxRunDays` runs have no bound. A phase is then a
  run of days under one condition, of any length.
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
from americano_pipelines.statistics.phase_windows import MAX_DAYS
from americano_pipelines.statistics.reference_set import Case, Schedule

NOT_A_TEST = "not a randomisation test"
_ABAB_SWITCHES = 3
_REFUSED = {
    "MULTIPLE_BASELINE": "its switches are drawn across several learners, and a protocol here has one",
    "CHANGING_CRITERION": "its criteria are steps that nothing was drawn for",
}


@dataclass(frozen=True)
class RandomizationScheme:
    """The schedules that could have been drawn, and the one that was observed.

    Attributes:
        schedule: the set of schedules that could have been drawn, None when none is recorded; there is no default.
        recorded: whether the set is recorded with the phases, not given with the request.
        observed: phase lengths in days; for an alternation 1 for each treatment day and 0 for each baseline day.
        case: the days with the schedule, to be tested; None without a schedule, when the observed days do not fit it,
            or when the set is empty.
    """

    schedule: Schedule | None
    recorded: bool
    observed: tuple[int, ...]
    case: Case | None

    @property
    def source(self) -> str:
        """Where the schedule is from, in words."""
        if self.schedule is None:
            return "nowhere"
        return "recorded with the phases" if self.recorded else "given with the request, so this is exploratory"

    @property
    def admissible(self) -> bool:
        """Whether the observed schedule could have been drawn."""
        return self.schedule is not None and self.schedule.contains(self.observed)


def is_alternation(observations: Observations) -> bool:
    """Whether the design alternates from day to day."""
    return observations.extract.protocol.design == "ALTERNATING"


def read_scheme(observations: Observations, parameters: AbabParameters) -> RandomizationScheme:
    """Read the scheme of a protocol.

    Args:
        observations: the protocol's days.
        parameters: bounds to use when the phases record none.

    Raises:
        AnalysisError: the design has no test here, an alternation has no recorded scheme, or the recorded scheme makes
            no sense.
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


def verdict_blockers(observations: Observations, scheme: RandomizationScheme, as_of_us: int) -> tuple[str, ...]:
    """The reasons against a verdict, whatever the numbers are.

    Args:
        observations: the protocol's days.
        scheme: the randomization scheme.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
    """
    reasons = []
    actual = ", ".join(map(str, observations.lengths))
    if scheme.schedule is None:
        reasons.append(f"{NOT_A_TEST}, for no drawing of the phases is recorded")
    elif is_alternation(observations) and any(observations.timeline.cut):
        reasons.append(f"{NOT_A_TEST}, for the condition changed within days, and whole days were drawn")
    elif not scheme.admissible:
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
    """The schedules of phases that could have been drawn, and whether they are recorded."""
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
    """Whether a recorded value is a number of days; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_DAYS


def _recorded(observations: Observations) -> list[dict[str, Any]]:
    """The scheme that each phase records, empty where it records none."""
    schemes = [
        phase.parameters.get("randomization") if isinstance(phase.parameters, dict) else None
        for phase in observations.extract.phases
    ]
    return [scheme if isinstance(scheme, dict) else {} for scheme in schemes]
