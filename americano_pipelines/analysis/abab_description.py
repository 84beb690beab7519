"""Describe a protocol beside its test: effect sizes, autocorrelation, appraisal of the design.

None of these changes the verdict.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.randomization_scheme import RandomizationScheme, is_alternation
from americano_pipelines.analysis.registry import AbabParameters
from americano_pipelines.analysis.result import jsonable
from americano_pipelines.statistics.autocorrelation import phase_dependence, residual_autocorrelations, reversal
from americano_pipelines.statistics.design_appraisal import Appraisal, appraise
from americano_pipelines.statistics.effect_sizes import INDEPENDENCE, Pair, combined, compare
from americano_pipelines.statistics.phase_windows import Condition
from americano_pipelines.statistics.prefix_sums import Values

_COMBINED = ("mean_difference", "median_difference", "overlap.nap", "overlap.tau", "overlap.tau_u", "overlap.pnd",
             "smd_baseline.value", "smd_pooled.value", "log_response_ratio")  # fmt: skip


@dataclass(frozen=True)
class ComparisonGroups:
    """The groups of days that are compared: the phases in order, or the two conditions of an alternation.

    Attributes:
        labels: label of each group.
        conditions: condition of each group.
        values: the days of each group in order, NaN for those without a value.
    """

    labels: tuple[str, ...]
    conditions: tuple[Condition, ...]
    values: tuple[Values, ...]

    @property
    def present_values(self) -> list[Values]:
        """The values of each group without the missing ones."""
        return [values[~np.isnan(values)] for values in self.values]


def comparison_groups(observations: Observations) -> ComparisonGroups:
    """The groups of days that are compared in a protocol."""
    conditions = tuple(window.condition for window in observations.timeline.windows)
    values = tuple(observations.phase_values(index) for index in range(len(conditions)))
    if not is_alternation(observations):
        return ComparisonGroups(observations.labels, conditions, values)
    both: tuple[Condition, ...] = ("baseline", "treatment")
    pooled = [
        np.concatenate([days for days, condition in zip(values, conditions, strict=True) if condition == side])
        for side in both
    ]
    return ComparisonGroups(tuple(f"{side} days" for side in both), both, tuple(pooled))


def effects(observations: Observations, parameters: AbabParameters) -> list[Pair]:
    """The effect of every pair of groups that is compared."""
    groups = comparison_groups(observations)
    return compare(
        groups.labels,
        groups.conditions,
        groups.present_values,
        improvement=parameters.improvement,
        ratio_scale=parameters.ratio_scale,
    )


def effect_results(pairs: Sequence[Pair], parameters: AbabParameters) -> JsonValue:
    """The effects as JSON, with the direction of the outcome that counts as improvement."""
    return {
        "improvement": parameters.improvement,
        "pairs": jsonable([asdict(pair) for pair in pairs]),
        "combined": {name: combined(pairs, name) for name in _COMBINED},
        "note": INDEPENDENCE,
    }


def dependence_results(observations: Observations, parameters: AbabParameters) -> JsonValue:
    """Trend and autocorrelation as JSON; for phases also whether the outcome reverted with the treatment."""
    groups = comparison_groups(observations)
    if is_alternation(observations):
        residuals = np.full_like(observations.days.values, np.nan)
        treated = np.array([window.condition == "treatment" for window in observations.timeline.windows])[
            observations.days.phase
        ]
        for side in (True, False):
            on_side = ~np.isnan(observations.days.values) & (treated == side)
            residuals[on_side] = (
                observations.days.values[on_side] - observations.days.values[on_side].mean()
                if on_side.any()
                else np.nan
            )
        return jsonable({"residual autocorrelation": residual_autocorrelations([residuals])})
    phases = [
        phase_dependence(label, values, parameters.improvement)
        for label, values in zip(groups.labels, groups.values, strict=True)
    ]
    return jsonable(
        {
            "phases": [asdict(phase) for phase in phases],
            "residual autocorrelation": residual_autocorrelations(groups.values),
            "reversal NAP, baseline 2 against 1": reversal(groups.conditions, groups.values, parameters.improvement),
        }
    )


def appraisal(observations: Observations, scheme: RandomizationScheme) -> Appraisal:
    """Appraise the design."""
    deviations = observations.extract.protocol.deviations
    groups = comparison_groups(observations)
    conditions = [window.condition for window in observations.timeline.windows]
    return appraise(
        [(label, int(values.size)) for label, values in zip(groups.labels, groups.present_values, strict=True)],
        switches=sum(previous != other for previous, other in pairwise(conditions)),
        randomised=scheme.recorded and scheme.admissible,
        as_planned=observations.planned == observations.lengths and not observations.timeline.gaps,
        deviations=len(deviations) if isinstance(deviations, list) else int(bool(deviations)),
    )
