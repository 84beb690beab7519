"""Compute what the test of a multiple baseline is judged by: test, missing days, trend, effects of the cases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from americano_pipelines.analysis.abab_description import comparison_groups, missing_by_condition, plan_adherence
from americano_pipelines.analysis.daily_series import Observations, observe
from americano_pipelines.analysis.declared_improvement import DeclaredImprovement, declared_improvement
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.group_extract import GroupExtract, distinct_titles
from americano_pipelines.analysis.multiple_baseline_scheme import JointScheme, not_comparable, read_joint_scheme
from americano_pipelines.analysis.parameters import MultipleBaselineParameters
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.between_case_effect import BetweenCaseEffect, between_case_effect
from americano_pipelines.statistics.design_appraisal import Appraisal, appraise
from americano_pipelines.statistics.effect_sizes import OutcomeScale, Pair, compare
from americano_pipelines.statistics.joint_randomization import MultipleBaseline, joint_missing_days, joint_test
from americano_pipelines.statistics.missing_days import MissingDays
from americano_pipelines.statistics.randomization_test import RandomizationTest
from americano_pipelines.statistics.verdict import UNDECLARED
from americano_pipelines.statistics.within_phase_trend import Trend, within_phase_trend


@dataclass(frozen=True)
class MultipleBaselineResults:
    """What was computed of a group before it is judged.

    Attributes:
        extract: its input.
        cases: the days of each protocol.
        parameters: the parameters.
        scheme: the randomization scheme.
        declared: which way is better.
        test: the test, None where nothing can be tested.
        missing: days without a value by condition.
        trend: the trend within the phases of all cases, None where none can be looked for.
        trend_part: how much of the tested difference the trend makes, in outcome units; None without a test or trend.
        pairs: the effect of each case, beside its name.
        between_cases: the effect in standard deviations between learners, or why there is none.
        appraisal: of the design.
    """

    extract: GroupExtract
    cases: Sequence[Observations]
    parameters: MultipleBaselineParameters
    scheme: JointScheme
    declared: DeclaredImprovement
    test: RandomizationTest | None
    missing: MissingDays
    trend: Trend | None
    trend_part: float | None
    pairs: Sequence[tuple[str, Pair]]
    between_cases: BetweenCaseEffect | str
    appraisal: Appraisal

    @property
    def titles(self) -> list[str]:
        """Names of the cases."""
        return distinct_titles(self.extract.protocols)

    def mean_of(self, name: str) -> float | None:
        """Mean of an effect over the cases, None when one has none."""
        values: list[float] = []
        for _, pair in self.pairs:
            value: object = pair
            for part in name.split("."):
                value = getattr(value, part) if value is not None else None
            if not isinstance(value, int | float):
                return None
            values.append(float(value))
        return float(np.mean(values)) if values else None


def joint_improvement(
    extracts: Sequence[Extract], improvement: str | None, direction: str | None
) -> DeclaredImprovement:
    """Which way is better for all protocols of a group; none where their declarations differ."""
    declared = [declared_improvement(extract, improvement, direction) for extract in extracts]
    declarations = tuple(dict.fromkeys(entry for declaration in declared for entry in declaration.declarations))
    ways = {declaration.better for declaration in declared}
    if len(ways) == 1:
        return DeclaredImprovement(declared[0].better, declarations, declared[0].undeclared)
    undeclared = [
        extract.protocol.title
        for extract, declaration in zip(extracts, declared, strict=True)
        if declaration.better is None
    ]
    named = f" ({', '.join(undeclared)})" if undeclared else ""
    reason = f"{UNDECLARED} for every case{named}" if undeclared else "the cases declare different ways to be better"
    return DeclaredImprovement(None, declarations, reason)


def compute_multiple_baseline(extract: GroupExtract, parameters: MultipleBaselineParameters) -> MultipleBaselineResults:
    """Compute everything of a group that its verdict rests on."""
    cases = [observe(member) for member in extract.protocols]
    scheme = read_joint_scheme(cases)
    declared = joint_improvement(extract.protocols, parameters.improvement, parameters.direction)
    test, missing, trend_part = None, _missing_by_condition(cases), None
    trend = None if not_comparable(cases) else _trend(cases)
    if scheme.experiment is not None:
        direction = None if parameters.direction == "either" else parameters.direction
        level, seed, draws = parameters.alpha, parameters.seed, parameters.draws
        test = joint_test(scheme.experiment, direction=direction, level=level, seed=seed, draws=draws)
        missing = joint_missing_days(scheme.experiment, test, level=level, seed=seed, draws=draws)
        trend_part = trend.slope * _difference_of_days(scheme.experiment) if trend else None
    titles = distinct_titles(extract.protocols)
    pairs = [(title, pair) for title, case in zip(titles, cases, strict=True) for pair in _pairs(case, declared)]
    appraisal = _appraisal(titles, cases, scheme, missing)
    between_cases = _between_cases(cases, declared, trend)
    return MultipleBaselineResults(
        extract, cases, parameters, scheme, declared, test, missing, trend, trend_part, pairs, between_cases, appraisal
    )


def _trend(cases: Sequence[Observations]) -> Trend | None:
    """The common slope within the baseline and treatment phases of all cases."""
    phases = [
        np.where(case.days.phase >= 0, case.days.phase + 2 * number, case.days.phase)
        for number, case in enumerate(cases)
    ]
    values = np.concatenate([case.days.values for case in cases])
    return within_phase_trend(values, np.concatenate(phases), np.tile([False, True], len(cases)))


def _difference_of_days(experiment: MultipleBaseline) -> float:
    """By how many days the treatment days are later than the baseline days, as the statistic compares them."""
    numbers = [np.where(np.isnan(days), np.nan, np.arange(days.size)) for days in experiment.values]
    return float(np.mean(replace(experiment, values=tuple(numbers)).contrasts()))


def _between_cases(
    cases: Sequence[Observations], declared: DeclaredImprovement, trend: Trend | None
) -> BetweenCaseEffect | str:
    """The effect between learners, positive where treatment is better; else why there is none."""
    if problem := not_comparable(cases):
        return problem
    learners = {case.extract.protocol.learner for case in cases}
    if len(learners) < len(cases):
        return f"cases of one learner do not differ as learners do, and {len(cases)} cases have {len(learners)}"
    if trend is not None and trend.visible:
        return "the outcome has a trend within phases, and the model of this effect has none"
    sign = -1.0 if declared.better == "decrease" else 1.0
    try:
        return between_case_effect(
            [sign * case.days.values for case in cases], [case.days.phase == 1 for case in cases]
        )
    except AnalysisError as error:
        return str(error)


def _appraisal(
    titles: Sequence[str], cases: Sequence[Observations], scheme: JointScheme, missing: MissingDays
) -> Appraisal:
    """Appraise the design: treatments that begin after baselines of one length are one attempt to show an effect."""
    return appraise(
        [
            (f"{label} of {title}", int(case.phase_values(place, missing=False).size))
            for title, case in zip(titles, cases, strict=True)
            for place, label in enumerate(case.labels)
        ],
        switches=len({case.lengths_as_drawn[0] for case in cases}),
        randomised=scheme.experiment is not None and scheme.experiment.admissible,
        missing=missing,
        compared="baseline and treatment after baselines of different lengths",
        adherence=plan_adherence(cases),
    )


def _pairs(case: Observations, declared: DeclaredImprovement) -> list[Pair]:
    groups = comparison_groups(case)
    return compare(
        groups.labels,
        groups.conditions,
        groups.present_values,
        improvement=declared.better or "increase",
        scale=OutcomeScale(),
    )


def _missing_by_condition(cases: Sequence[Observations]) -> MissingDays:
    """Days without a value by condition, where there is no set of assignments to test them against."""
    counted = [missing_by_condition(case) for case in cases]
    return MissingDays(
        treatment_days=sum(missing.treatment_days for missing in counted),
        treatment_missing=sum(missing.treatment_missing for missing in counted),
        baseline_days=sum(missing.baseline_days for missing in counted),
        baseline_missing=sum(missing.baseline_missing for missing in counted),
        p=None,
        worst_case_p=None,
        worst_case_bound=None,
    )
