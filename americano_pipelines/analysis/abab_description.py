"""Describe a protocol beside its test: effect sizes, autocorrelation, appraisal of the design.

Nothing in here changes the verdict.
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
    """What is compared: the phases in order, or all baseline days and all treatment days of an alternation.

    Attributes:
        labels: of each.
        conditions: what each counts as.
        values: the days of each in order, NaN for those without a value.
    """

    labels: tuple[str, ...]
    conditions: tuple[Condition, ...]
    values: tuple[Values, ...]

    @property
    def present_values(self) -> list[Values]:
        """The values of each that are not missing."""
        return [values[~np.isnan(values)] for values in self.values]


def comparison_groups(observations: Observations) -> ComparisonGroups:
    """What is compared in a protocol."""
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
    """Every pair that is compared."""
    compared = comparison_groups(observations)
    return compare(
        compared.labels,
        compared.conditions,
        compared.present_values,
        improvement=parameters.improvement,
        ratio_scale=parameters.ratio_scale,
    )


def effect_results(pairs: Sequence[Pair], parameters: AbabParameters) -> JsonValue:
    """The effects as results, with the way of the outcome that counts as improvement."""
    return {
        "improvement": parameters.improvement,
        "pairs": jsonable([asdict(pair) for pair in pairs]),
        "combined": {name: combined(pairs, name) for name in _COMBINED},
        "note": INDEPENDENCE,
    }


def dependence_results(observations: Observations, parameters: AbabParameters) -> JsonValue:
    """Trend and autocorrelation, and of phases whether the outcome went back with the treatment."""
    compared = comparison_groups(observations)
    if is_alternation(observations):
        left = np.full_like(observations.days.values, np.nan)
        treated = np.array([window.condition == "treatment" for window in observations.timeline.windows])[
            observations.days.phase
        ]
        for side in (True, False):
            on_side = ~np.isnan(observations.days.values) & (treated == side)
            left[on_side] = (
                observations.days.values[on_side] - observations.days.values[on_side].mean()
                if on_side.any()
                else np.nan
            )
        return jsonable({"residual autocorrelation": residual_autocorrelations([left])})
    looked = [
        phase_dependence(label, values, parameters.improvement)
        for label, values in zip(compared.labels, compared.values, strict=True)
    ]
    return jsonable(
        {
            "phases": [asdict(phase) for phase in looked],
            "residual autocorrelation": residual_autocorrelations(compared.values),
            "reversal NAP, baseline 2 against 1": reversal(
                compared.conditions, compared.values, parameters.improvement
            ),
        }
    )


def appraisal(observations: Observations, drawn: RandomizationScheme) -> Appraisal:
    """The design appraised."""
    noted = observations.extract.protocol.deviations
    compared = comparison_groups(observations)
    conditions = [window.condition for window in observations.timeline.windows]
    return appraise(
        [(label, int(values.size)) for label, values in zip(compared.labels, compared.present_values, strict=True)],
        switches=sum(previous != other for previous, other in pairwise(conditions)),
        randomised=drawn.recorded and drawn.admissible,
        as_planned=observations.planned == observations.lengths and not observations.timeline.gaps,
        deviations=len(noted) if isinstance(noted, list) else int(bool(noted)),
    )
