"""What is measured of a protocol beside its test: effects, how far the days depend on each other, the design appraised.

Here belongs putting these together for phases and for days that alternate. None of it makes or forbids a verdict.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.config import AbabParameters
from americano_pipelines.analysis.design import Drawing, is_alternation
from americano_pipelines.analysis.observations import Observations
from americano_pipelines.analysis.outcome import jsonable
from americano_pipelines.research.appraisal import Appraisal, appraise
from americano_pipelines.research.dependence import phase_dependence, residual_autocorrelations, reversal
from americano_pipelines.research.effects import Pair, combined, compare
from americano_pipelines.research.overlap import INDEPENDENCE
from americano_pipelines.research.statistic import Values
from americano_pipelines.research.windows import Condition

_COMBINED = ("mean_difference", "median_difference", "overlap.nap", "overlap.tau", "overlap.tau_u", "overlap.pnd",
             "smd_baseline.value", "smd_pooled.value", "log_response_ratio")  # fmt: skip


@dataclass(frozen=True)
class Sides:
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
    def there(self) -> list[Values]:
        """The values of each that are not missing."""
        return [values[~np.isnan(values)] for values in self.values]


def sides(seen: Observations) -> Sides:
    """What is compared in a protocol."""
    conditions = tuple(window.condition for window in seen.timeline.windows)
    values = tuple(seen.phase_values(index) for index in range(len(conditions)))
    if not is_alternation(seen):
        return Sides(seen.labels, conditions, values)
    both: tuple[Condition, ...] = ("baseline", "treatment")
    pooled = [
        np.concatenate([days for days, condition in zip(values, conditions, strict=True) if condition == side])
        for side in both
    ]
    return Sides(tuple(f"{side} days" for side in both), both, tuple(pooled))


def effects(seen: Observations, asked: AbabParameters) -> list[Pair]:
    """Every pair that is compared."""
    compared = sides(seen)
    return compare(
        compared.labels,
        compared.conditions,
        compared.there,
        improvement=asked.improvement,
        ratio_scale=asked.ratio_scale,
    )


def effect_results(pairs: Sequence[Pair], asked: AbabParameters) -> JsonValue:
    """The effects as results, with the way of the outcome that counts as improvement."""
    return {
        "improvement": asked.improvement,
        "pairs": jsonable([asdict(pair) for pair in pairs]),
        "combined": {name: combined(pairs, name) for name in _COMBINED},
        "note": INDEPENDENCE,
    }


def dependence_results(seen: Observations, asked: AbabParameters) -> JsonValue:
    """Trend and autocorrelation, and of phases whether the outcome went back with the treatment."""
    compared = sides(seen)
    if is_alternation(seen):
        left = np.full_like(seen.days.values, np.nan)
        treated = np.array([window.condition == "treatment" for window in seen.timeline.windows])[seen.days.phase]
        for side in (True, False):
            here = ~np.isnan(seen.days.values) & (treated == side)
            left[here] = seen.days.values[here] - seen.days.values[here].mean() if here.any() else np.nan
        return jsonable({"residual autocorrelation": residual_autocorrelations([left])})
    looked = [
        phase_dependence(label, values, asked.improvement)
        for label, values in zip(compared.labels, compared.values, strict=True)
    ]
    return jsonable(
        {
            "phases": [asdict(one) for one in looked],
            "residual autocorrelation": residual_autocorrelations(compared.values),
            "reversal NAP, baseline 2 against 1": reversal(compared.conditions, compared.values, asked.improvement),
        }
    )


def appraisal(seen: Observations, drawn: Drawing) -> Appraisal:
    """The design appraised."""
    noted = seen.extract.protocol.deviations
    compared = sides(seen)
    conditions = [window.condition for window in seen.timeline.windows]
    return appraise(
        [(label, int(values.size)) for label, values in zip(compared.labels, compared.there, strict=True)],
        switches=sum(one != other for one, other in pairwise(conditions)),
        randomised=drawn.recorded and drawn.admissible,
        as_planned=seen.planned == seen.lengths and not seen.timeline.gaps,
        deviations=len(noted) if isinstance(noted, list) else int(bool(noted)),
    )
