"""Read the recorded randomization scheme of a protocol and list the reasons against a verdict."""

# The phases record the scheme in `interventionParams.randomization`:
#
# - Phases: each phase has the bounds of its own length, `{"minDays": 7, "maxDays": 21}`. Every division of the planned
#   days into phases within the bounds was equally likely.
# - Design ALTERNATING: see `alternation_scheme.py`.

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from americano_pipelines.analysis.alternation_scheme import read_alternation, recorded_schemes, whole_days, wrong_days
from americano_pipelines.analysis.condition_contrasts import BASELINE, Contrast, contrasts_of, side_of
from americano_pipelines.analysis.criterion_conformity import criteria_lead, criteria_of, wrong_criteria
from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.criterion_schedules import CriterionSchedule
from americano_pipelines.statistics.outcome_statistics import Statistic
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.reference_set import Case, Schedule

NOT_A_TEST = "not a randomisation test"
_ABAB_SWITCHES = 3
_BOUNDS = ("minDays", "maxDays")
_ABAB, _ALTERNATING, _CHANGING_CRITERION = "ABAB", "ALTERNATING", "CHANGING_CRITERION"
_INTERVENTION = "INTERVENTION_A"
_WITHOUT_TEST = {
    "MULTIPLE_BASELINE": "its cases are tested together, as a group, by the analysis multiple_baseline",
    "CHANGING_CRITERION": "its criteria are steps that nothing was drawn for",
}


@dataclass(frozen=True)
class RandomizationScheme:
    """The schedules that could have been drawn, and the one that was drawn.

    Attributes:
        schedule: the set of schedules that could have been drawn, None when none is recorded; there is no default.
        recorded: whether the set is recorded with the phases, not given with the request; where nothing is tested,
            whether all phases record some.
        observed: what was drawn, the planned phase lengths in days; those that were kept where not all are planned. For
            an alternation 1 for each treatment day and 0 for each baseline day.
        case: the days with the schedule, to be tested; None when there is nothing to test.
        problem: why there is nothing to test; None where there is, or where the schedule itself shows it.
        contrast: the conditions that are compared; None where there are two interventions and no contrast is declared.
    """

    schedule: Schedule | None
    recorded: bool
    observed: tuple[int, ...]
    case: Case | None
    problem: str | None = None
    contrast: Contrast | None = None

    @property
    def source(self) -> str:
        """Where the schedule is from, in words."""
        if self.schedule is None:
            return "nowhere"
        return "recorded with the phases" if self.recorded else "given with the request, so this is exploratory"

    @property
    def drawn(self) -> bool:
        """Whether the observed schedule was drawn, as far as the phases record it."""
        return self.recorded and (self.admissible or (self.schedule is None and self.problem is not None))

    @property
    def admissible(self) -> bool:
        """Whether the observed schedule could have been drawn."""
        return self.schedule is not None and self.schedule.contains(self.observed)


def design_of(observations: Observations) -> str | None:
    """The design in the app's spelling, None when it is not stated."""
    stated = observations.extract.protocol.design
    return stated.strip().upper().replace(" ", "_").replace("-", "_") or None if stated else None


def is_alternation(observations: Observations) -> bool:
    """Whether the design alternates from day to day."""
    return design_of(observations) == _ALTERNATING


def has_criteria(observations: Observations) -> bool:
    """Whether the design changes a criterion from phase to phase."""
    return design_of(observations) == _CHANGING_CRITERION


def condition_names(observations: Observations) -> list[str]:
    """The condition of each phase: baseline or treatment, and by its type where there are two interventions."""
    windows = observations.timeline.windows
    several = len(observations.timeline.interventions) > 1
    return [window.type if several else window.condition for window in windows]


def declared_contrasts(observations: Observations, parameters: AbabParameters) -> tuple[Contrast, ...]:
    """The contrasts that are told apart, the primary one first; none where one intervention has one contrast."""
    contrasts = contrasts_of(parameters.contrasts)
    if has_criteria(observations) or (len(observations.timeline.interventions) <= 1 and len(contrasts) <= 1):
        return ()
    return contrasts


def compared_names(contrast: Contrast | None) -> tuple[str, str]:
    """The two conditions of a contrast in words; treatment and baseline without one."""
    if contrast is None:
        return "treatment", "baseline"
    return contrast.first, "baseline" if contrast.second == BASELINE else contrast.second


def read_scheme(
    observations: Observations, parameters: AbabParameters, contrast: Contrast | None = None
) -> RandomizationScheme:
    """Read the scheme of a protocol; what cannot be tested is no error, and `problem` says why.

    Args:
        observations: the protocol's days.
        parameters: bounds to use when the phases record none, the contrasts, and the statistic.
        contrast: the conditions to compare; None for the primary contrast.
    """
    contrast = contrast or _primary(observations, parameters)
    statistic: Statistic = "distance" if has_criteria(observations) else parameters.statistic
    lengths = observations.lengths_as_drawn
    sides = [side_of(window.type) for window in observations.timeline.windows]
    treated = tuple(
        side == contrast.first if contrast else window.condition == "treatment"
        for side, window in zip(sides, observations.timeline.windows, strict=True)
    )
    observed = tuple(np.repeat(np.array(treated, dtype=np.int64), lengths).tolist())
    if not is_alternation(observations):
        observed = lengths
    problem = _untestable(observations, parameters, contrast)
    if problem or contrast is None:
        return RandomizationScheme(
            None, all(recorded_schemes(observations)), observed, case=None, problem=problem, contrast=contrast
        )
    schedule: Schedule | None
    try:
        if is_alternation(observations):
            schedule, recorded = read_alternation(observations, lengths, contrast), True
            observed = tuple((np.array(observed) * schedule.compared_days).tolist())
            values = observations.days.values
        else:
            schedule, recorded = _phases(observations, parameters, contrast, lengths)
            values = observations.days.with_switches
    except AnalysisError as error:
        return RandomizationScheme(
            None, recorded=False, observed=observed, case=None, problem=str(error), contrast=contrast
        )
    if schedule is None or not schedule.count or not schedule.fits(observed):
        return RandomizationScheme(schedule, recorded, observed, None, contrast=contrast)
    if schedule.count == 1 and declared_contrasts(observations, parameters):
        problem = f"{contrast.words} cannot be tested, for the days of other conditions leave one possible assignment"
        return RandomizationScheme(schedule, recorded, observed, None, problem, contrast)
    try:
        case = Case(on_planned_days(values, sum(lengths)), schedule, observed, statistic)
        case.contrast()
    except AnalysisError as error:
        return RandomizationScheme(schedule, recorded, observed, None, str(error), contrast)
    return RandomizationScheme(schedule, recorded, observed, case, contrast=contrast)


def read_schemes(observations: Observations, parameters: AbabParameters) -> list[RandomizationScheme]:
    """The schemes of all contrasts, that of the only or the primary one first."""
    others = declared_contrasts(observations, parameters)[1:]
    return [
        read_scheme(observations, parameters),
        *(read_scheme(observations, parameters, contrast) for contrast in others),
    ]


def _primary(observations: Observations, parameters: AbabParameters) -> Contrast | None:
    """The primary contrast; of one intervention it against baseline, of several none where none is declared."""
    contrasts, interventions = contrasts_of(parameters.contrasts), observations.timeline.interventions
    if contrasts:
        return contrasts[0]
    return None if len(interventions) > 1 else Contrast(next(iter(interventions), _INTERVENTION), BASELINE)


def as_drawn(observations: Observations) -> str:
    """That the phases were compared as drawn, where they had other lengths; else nothing."""
    if observations.planned in (None, observations.lengths):
        return ""
    if is_alternation(observations):
        return "the days are compared as they were drawn, though not all were kept so"
    planned, actual = (", ".join(map(str, days)) for days in (observations.planned or (), observations.lengths))
    return f"the days are compared as they were drawn (phases of {planned} days), though the phases had {actual} days"


def off_plan(observations: Observations) -> float:
    """Share of the planned days that were under another condition than was drawn for them."""
    if observations.planned is None:
        return 0.0
    sides = np.array([side_of(window.type) for window in observations.timeline.windows])
    drawn = np.repeat(sides, observations.planned)
    phase = observations.days.phase[: drawn.size]
    other = (phase >= 0) & (sides[phase] != drawn[: phase.size])
    return float(other.sum() / drawn.size)


def verdict_blockers(observations: Observations, scheme: RandomizationScheme, as_of_us: int) -> tuple[str, ...]:
    """The reasons against a verdict, whatever the numbers are.

    Args:
        observations: the protocol's days.
        scheme: the randomization scheme.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
    """
    reasons = list(filter(None, (_unknown_design(observations), _not_a_test(observations, scheme))))
    conditions = condition_names(observations)
    switches = sum(previous != other for previous, other in pairwise(conditions))
    if design_of(observations) == _ABAB and (switches < _ABAB_SWITCHES or switches < len(conditions) - 1):
        reasons.append(f"the design is ABAB, and its phases are {', '.join(conditions)}: it is not complete")
    if observations.timeline.gaps:
        gaps = ", ".join(f"{before} and {after}" for before, after in observations.timeline.gaps)
        reasons.append(f"time between phases belongs to none of them ({gaps}), and no such time could have been drawn")
    if as_of_us < observations.planned_end_us:
        end = datetime.fromtimestamp(observations.planned_end_us / 1e6, UTC)
        reasons.append(f"the plan is not over before {end:%Y-%m-%d}")
    return tuple(reasons)


def _untestable(observations: Observations, parameters: AbabParameters, contrast: Contrast | None) -> str | None:
    """Why the design has no test here, whatever was drawn."""
    design, interventions = design_of(observations), observations.timeline.interventions
    if design == _CHANGING_CRITERION and (wrong := wrong_criteria(observations)):
        return f"the recorded criteria are not understood: a number is needed ({', '.join(wrong)})"
    if design == _CHANGING_CRITERION and all(None not in _bounds(scheme) for scheme in recorded_schemes(observations)):
        if not criteria_lead(observations):
            why = "no criteria are recorded, or the last is the first one, so following them leads no way"
            return f"a design of type {design} has no randomization test here: {why}"
    elif design in _WITHOUT_TEST:
        return f"a design of type {design} has no randomization test here: {_WITHOUT_TEST[design]}"
    # A distance from criteria belongs to no pair of conditions.
    if len(interventions) > 1 and (contrast is None or design == _CHANGING_CRITERION):
        return f"{' and '.join(interventions)} are different treatments, and are not pooled"
    sides = {side_of(window.type) for window in observations.timeline.windows}
    absent = [name for name in (contrast.first, contrast.second) if name not in sides] if contrast else []
    if contrast and absent and parameters.contrasts:
        return f"{contrast.words} cannot be compared: no phase is {' or '.join(absent)}"
    return None


def _unknown_design(observations: Observations) -> str | None:
    design, known = design_of(observations), (_ABAB, _ALTERNATING, *_WITHOUT_TEST)
    if design is None:
        return "the design is not stated"
    return None if design in known else f"the design {design} is none of {', '.join(known)}"


def _not_a_test(observations: Observations, scheme: RandomizationScheme) -> str | None:
    """Why there is no randomization test of these days."""
    if scheme.problem is not None:
        return scheme.problem
    if scheme.schedule is None:
        return f"{NOT_A_TEST}, for {_missing_bounds(observations)}"
    if is_alternation(observations) and any(observations.timeline.cut):
        return f"{NOT_A_TEST}, for the condition changed within days, and whole days were drawn"
    if not scheme.admissible:
        drawn = ", ".join(map(str, observations.lengths_as_drawn))
        return f"{NOT_A_TEST}, for phases of {drawn} days could not have been drawn"
    if observations.planned is None:
        return f"{NOT_A_TEST}, for the planned days are not recorded of every phase, so the end may be a choice"
    return None


def _missing_bounds(observations: Observations) -> str:
    """Which phases record no bounds of their length, or record what is no number of days."""
    phases = list(zip(observations.extract.phases, recorded_schemes(observations), strict=True))
    if wrong := [words for phase, scheme in phases if (words := wrong_days(str(phase.label), scheme, _BOUNDS))]:
        return f"the recorded drawing is not understood: a number of whole days is needed ({', '.join(wrong)})"
    without = [str(phase.label) for phase, scheme in phases if None in _bounds(scheme)]
    if len(without) == len(phases):
        return "no drawing of the phases is recorded"
    return f"no drawing is recorded of {', '.join(without)}: minDays and maxDays are missing there"


def on_planned_days(values: Values, total: int) -> Values:
    """The values of so many days; a day that did not take place has none."""
    return np.concatenate((values[:total], np.full(max(0, total - values.size), np.nan)))


def contrast_schedule(
    contrast: Contrast,
    sides: Sequence[str],
    lengths: Sequence[int],
    bounds: tuple[Sequence[int], Sequence[int]],
    cut: tuple[bool, ...] = (),
) -> PhaseSchedule:
    """The divisions into phases that a contrast is tested over.

    Phases under a condition that is not compared keep their days, and so does the phase after them its beginning.

    Args:
        contrast: the conditions that are compared.
        sides: the condition of each phase.
        lengths: the days of each phase that were drawn.
        bounds: fewest and most days of each phase.
        cut: whether each phase begins within a day; empty when none does.

    Raises:
        AnalysisError: the parts do not fit together.
    """
    compared = [side in {contrast.first, contrast.second} for side in sides]
    treated = tuple(side == contrast.first for side in sides)
    shortest, longest = (tuple(days) for days in bounds)
    if all(compared):
        return PhaseSchedule(sum(lengths), treated, shortest, longest, cut)
    fixed = [not own or not before for before, own in pairwise((True, *compared))]
    starts = tuple(day if stays else None for day, stays in zip((0, *accumulate(lengths)), fixed, strict=False))
    return PhaseSchedule(sum(lengths), treated, shortest, longest, cut, tuple(compared), starts)


def _phases(
    observations: Observations, parameters: AbabParameters, contrast: Contrast, lengths: tuple[int, ...]
) -> tuple[PhaseSchedule | None, bool]:
    """The schedules of phases that could have been drawn, and whether they are recorded."""
    bounds = [_bounds(scheme) for scheme in recorded_schemes(observations)]
    low, high = [days for days, _ in bounds if days is not None], [days for _, days in bounds if days is not None]
    recorded = len(low) == len(high) == len(bounds)
    if not recorded:
        if parameters.min_days is None or parameters.max_days is None:
            return None, False
        low, high = [parameters.min_days] * len(lengths), [parameters.max_days] * len(lengths)
    sides = [side_of(window.type) for window in observations.timeline.windows]
    if has_criteria(observations):
        treated, criteria = tuple(side != BASELINE for side in sides), tuple(criteria_of(observations))
        cut = observations.timeline.cut
        return CriterionSchedule(sum(lengths), treated, tuple(low), tuple(high), cut, criteria=criteria), recorded
    return contrast_schedule(contrast, sides, lengths, (low, high), observations.timeline.cut), recorded


def _bounds(scheme: dict[str, Any]) -> tuple[int | None, int | None]:
    """Fewest and most days of a phase, None where the scheme has no number of days."""
    return whole_days(scheme.get("minDays")), whole_days(scheme.get("maxDays"))
