"""Describe a protocol beside its test: effect sizes, autocorrelation, appraisal of the design.

None of these changes the verdict.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from americano_pipelines.analysis.alternation_scheme import alternating_phases
from americano_pipelines.analysis.condition_contrasts import BASELINE, Contrast, side_of
from americano_pipelines.analysis.criterion_conformity import criteria_of
from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.analysis.randomization_scheme import (
    RandomizationScheme,
    as_drawn,
    has_criteria,
    is_alternation,
    off_plan,
)
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.alternation_measures import neighbour_differences
from americano_pipelines.statistics.autocorrelation import phase_dependence, residual_autocorrelations, reversal
from americano_pipelines.statistics.combined_effects import DEPENDENT_DAYS, combine
from americano_pipelines.statistics.design_appraisal import Appraisal, PlanAdherence, appraise
from americano_pipelines.statistics.effect_sizes import INDEPENDENCE, OutcomeScale, Pair, combined, compare
from americano_pipelines.statistics.missing_days import MissingDays
from americano_pipelines.statistics.overlap_measures import DatedValues
from americano_pipelines.statistics.phase_windows import Condition
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.randomization_test import Direction

_COMBINED = ("mean_difference", "median_difference", "overlap.nap", "overlap.tau", "overlap.tau_u", "tau_bc.value",
             "tau_bc.always_removed", "overlap.pnd", "overlap.pem", "overlap.pand", "overlap.ird", "smd_baseline.value",
             "smd_pooled.value", "log_response_ratio", "log_median_ratio", "log_odds_ratio.value",
             "goal_obtained.value")  # fmt: skip


@dataclass(frozen=True)
class ComparisonGroups:
    """The groups of days that are compared: the phases in order, or the two conditions of an alternation.

    Attributes:
        labels: label of each group.
        conditions: condition of each group.
        values: the days of each group in order, NaN for those without a value.
        days: number of each of these days in the experiment.
    """

    labels: tuple[str, ...]
    conditions: tuple[Condition, ...]
    values: tuple[Values, ...]
    days: tuple[NDArray[np.int64], ...]

    @property
    def present_values(self) -> list[DatedValues]:
        """The days of each group that have a value."""
        return [
            DatedValues(values[~np.isnan(values)], days[~np.isnan(values)])
            for values, days in zip(self.values, self.days, strict=True)
        ]


def comparison_groups(observations: Observations, contrast: Contrast | None = None) -> ComparisonGroups:
    """The groups of days that are compared in a protocol; the days of two interventions are never in one group.

    Args:
        observations: the protocol's days.
        contrast: of days that alternate, the conditions of a declared contrast; None for all.
    """
    windows = observations.timeline.windows
    values = tuple(observations.phase_values(index) for index in range(len(windows)))
    days = tuple(np.flatnonzero(observations.days.phase == index) for index in range(len(windows)))
    if not is_alternation(observations):
        return ComparisonGroups(observations.labels, tuple(window.condition for window in windows), values, days)
    part, interventions = alternating_phases(observations), observations.timeline.interventions
    names = {BASELINE: "baseline days"} | {
        kind: "treatment days" if len(interventions) == 1 else f"{kind} days" for kind in interventions
    }
    if contrast is not None:
        names = {side: names.get(side, f"{side} days") for side in (contrast.second, contrast.first)}
    sides = [side_of(window.type) for window in windows]
    members = [[index for index in part if sides[index] == side] for side in names]
    pooled_values = tuple(np.concatenate([np.empty(0), *(values[index] for index in group)]) for group in members)
    pooled_days = tuple(
        np.concatenate([np.empty(0, dtype=np.int64), *(days[index] for index in group)]) for group in members
    )
    conditions: list[Condition] = ["baseline", *(["treatment"] * (len(names) - 1))]  # type: ignore[list-item]
    return ComparisonGroups(tuple(names.values()), tuple(conditions), pooled_values, pooled_days)


def outcome_scale(parameters: AbabParameters) -> OutcomeScale:
    """What the parameters say of the scale of the outcome."""
    return OutcomeScale(parameters.ratio_scale, parameters.highest, parameters.goal)


def effects(
    observations: Observations,
    parameters: AbabParameters,
    improvement: Direction | None,
    contrast: Contrast | None = None,
) -> list[Pair]:
    """The effect of every pair of groups that is compared; higher counts as better where no way is declared."""
    groups = comparison_groups(observations, contrast)
    return compare(
        groups.labels,
        groups.conditions,
        groups.present_values,
        improvement=improvement or "increase",
        scale=outcome_scale(parameters),
    )


def effect_results(
    observations: Observations, pairs: Sequence[Pair], improvement: Direction | None, undeclared: str
) -> JsonValue:
    """The effects as JSON, with the direction of the outcome that counts as improvement."""
    interventions = observations.timeline.interventions
    results: dict[str, JsonValue] = {
        "improvement": improvement,
        "pairs": jsonable([asdict(pair) for pair in pairs]),
        "combined": {name: combined(pairs, name) if len(interventions) == 1 else None for name in _COMBINED},
        "note": INDEPENDENCE,
    }
    if len(interventions) == 1 and (intervals := combine(pairs)):
        results["combined with interval"] = jsonable(
            [{"effect": name, **asdict(effect)} for name, effect in intervals.items()]
        )
        results["combined interval note"] = DEPENDENT_DAYS
    if improvement is None:
        results["improvement note"] = f"{undeclared}; signs and overlap are those of higher values under treatment"
    if len(interventions) > 1:
        results["combined note"] = f"{' and '.join(interventions)} are not pooled"
        results["differences from baseline"] = jsonable(differences_by_intervention(observations))
    return results


def differences_by_intervention(observations: Observations) -> dict[str, float | None]:
    """By type of intervention: the mean of its phases' means less that of the baseline phases' means.

    Of an alternation the means are those of all days. None where one of them has no day.
    """
    windows = observations.timeline.windows
    means: dict[str, list[Values]] = {}
    part = alternating_phases(observations) if is_alternation(observations) else range(len(windows))
    for index in part:
        window = windows[index]
        side = window.type if window.condition == "treatment" else window.condition
        means.setdefault(side, []).append(observations.phase_values(index, missing=False))

    def level(side: str) -> float | None:
        parts = means.get(side, [])
        if parts and is_alternation(observations):
            parts = [np.concatenate(parts)]
        if not parts or any(not part.size for part in parts):
            return None
        return float(np.mean([part.mean() for part in parts]))

    baseline = level("baseline") if "baseline" in means else None
    levels = {kind: level(kind) for kind in observations.timeline.interventions}
    return {
        kind: treated - baseline if treated is not None and baseline is not None else None
        for kind, treated in levels.items()
    }


def days_by_condition(observations: Observations) -> dict[str, NDArray[np.bool_]]:
    """Whether each day is under each condition of the protocol, the baseline first."""
    sides = [side_of(window.type) for window in observations.timeline.windows]
    phase = observations.days.phase
    order = [*([BASELINE] if BASELINE in sides else []), *observations.timeline.interventions]
    return {name: np.isin(phase, [index for index, side in enumerate(sides) if side == name]) for name in order}


def neighbour_results(observations: Observations, scheme: RandomizationScheme) -> JsonValue:
    """Differences of neighbouring days of an alternation as JSON."""
    part, phase = alternating_phases(observations), observations.days.phase
    days = days_by_condition(observations)
    contrast = scheme.contrast
    treated = np.full(phase.size, np.nan)
    if contrast is not None and contrast.first in days and contrast.second in days:
        alternates = (phase >= part.start) & (phase < part.stop)
        treated[days[contrast.first] & alternates] = 1.0
        treated[days[contrast.second] & alternates] = 0.0
    return jsonable(asdict(neighbour_differences(observations.days.values, treated)))


def missing_by_condition(observations: Observations) -> MissingDays:
    """Days without a value by condition, where there is no set of assignments to test them against."""
    treated = np.array([window.condition == "treatment" for window in observations.timeline.windows], dtype=np.float64)
    phase = observations.days.phase
    return MissingDays.count(np.isnan(observations.days.values), np.where(phase >= 0, treated[phase], np.nan))


def dependence_results(observations: Observations, improvement: Direction | None, trend: JsonValue) -> JsonValue:
    """Trend and autocorrelation as JSON; for phases also whether the outcome reverted with the treatment.

    Args:
        observations: the protocol's days.
        improvement: which way is better; None is taken for higher.
        trend: the common trend within phases, None without one.
    """
    groups, better = comparison_groups(observations), improvement or "increase"
    if is_alternation(observations):
        residuals = np.full_like(observations.days.values, np.nan)
        part = alternating_phases(observations)
        alternates = (observations.days.phase >= part.start) & (observations.days.phase < part.stop)
        for under in days_by_condition(observations).values():
            on_side = ~np.isnan(observations.days.values) & under & alternates
            residuals[on_side] = (
                observations.days.values[on_side] - observations.days.values[on_side].mean()
                if on_side.any()
                else np.nan
            )
        return jsonable({"residual autocorrelation": residual_autocorrelations([residuals])})
    phases = [
        phase_dependence(label, values, better) for label, values in zip(groups.labels, groups.values, strict=True)
    ]
    return jsonable(
        {
            "phases": [asdict(phase) for phase in phases],
            "trend within phases": trend,
            "residual autocorrelation": residual_autocorrelations(groups.values),
            "reversal NAP, baseline 2 against 1": reversal(groups.conditions, groups.values, better),
        }
    )


def _compared_conditions(observations: Observations, contrast: Contrast | None) -> tuple[list[str], str]:
    """The condition of each phase whose switches count, and what is compared, for people."""
    windows = observations.timeline.windows
    if has_criteria(observations):
        return [str(criterion) for criterion in criteria_of(observations)], "criteria"
    pooled = contrast is None and len(observations.timeline.interventions) > 1
    if is_alternation(observations) and not pooled:
        conditions = [side_of(windows[index].type) for index in alternating_phases(observations)]
    else:
        conditions = [window.condition if contrast is None else side_of(window.type) for window in windows]
    if contrast is None:
        return conditions, "baseline and treatment"
    pair = contrast.first, contrast.second
    return [side for side in conditions if side in pair], " and ".join(pair)


def appraisal(observations: Observations, scheme: RandomizationScheme, missing: MissingDays) -> Appraisal:
    """Appraise the design."""
    contrast = scheme.contrast if len(observations.timeline.interventions) > 1 else None
    groups = comparison_groups(observations, contrast)
    conditions, compared = _compared_conditions(observations, contrast)
    return appraise(
        [(label, int(group.values.size)) for label, group in zip(groups.labels, groups.present_values, strict=True)],
        switches=sum(previous != other for previous, other in pairwise(conditions)),
        randomised=scheme.drawn,
        missing=missing,
        compared=compared,
        adherence=plan_adherence([observations]),
    )


def plan_adherence(cases: Sequence[Observations]) -> PlanAdherence:
    """How far the plan of one protocol, or of all cases of a group, was followed; of the shares off plan the largest.

    Args:
        cases: the days of each protocol, at least one.
    """
    deviations = [case.extract.protocol.deviations for case in cases]
    return PlanAdherence(
        all(case.planned is not None and not as_drawn(case) and not case.timeline.gaps for case in cases),
        max(off_plan(case) for case in cases),
        sum(len(noted) if isinstance(noted, list) else int(bool(noted)) for noted in deviations),
    )
