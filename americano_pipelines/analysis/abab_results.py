"""Compute what a protocol's randomization test is judged by: test, missing days, trend, effects, appraisal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from americano_pipelines.analysis.abab_description import appraisal, effects, missing_by_condition
from americano_pipelines.analysis.condition_contrasts import Contrast
from americano_pipelines.analysis.criterion_conformity import criterion_doubts
from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.declared_improvement import DeclaredImprovement, declared_improvement
from americano_pipelines.analysis.missing_clauses import missing_clause, missing_doubts
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.analysis.randomization_scheme import (
    RandomizationScheme,
    as_drawn,
    compared_names,
    declared_contrasts,
    has_criteria,
    is_alternation,
    read_schemes,
)
from americano_pipelines.analysis.trend_clauses import trend_clause
from americano_pipelines.statistics.design_appraisal import Appraisal
from americano_pipelines.statistics.effect_sizes import Pair
from americano_pipelines.statistics.holm_correction import holm
from americano_pipelines.statistics.missing_days import MissingDays, missing_days
from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest, randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines.statistics.within_phase_trend import Trend, within_phase_trend


@dataclass(frozen=True)
class ContrastResults:
    """The test of one declared contrast.

    Attributes:
        contrast: the conditions that are compared.
        scheme: the schedules that could have been drawn with the days of all other conditions as they were.
        test: the test, None where nothing can be tested.
        missing: days without a value by condition; None without a test.
        adjusted_p: p corrected by Holm for all declared contrasts, of which one without a test counts as 1; None
            without a test.
    """

    contrast: Contrast
    scheme: RandomizationScheme
    test: RandomizationTest | None
    missing: MissingDays | None
    adjusted_p: float | None


@dataclass(frozen=True)
class AbabResults:
    """What was computed of a protocol before it is judged.

    Attributes:
        observations: its days.
        parameters: the parameters.
        scheme: the randomization scheme.
        declared: which way is better.
        test: the test, None where nothing can be tested.
        missing: days without a value by condition.
        trend: the trend within phases, None where none can be looked for.
        trend_part: how much of the difference the trend makes, in outcome units.
        pairs: the effects.
        appraisal: of the design.
        contrasts: the tests of all declared contrasts, that of the primary one first; empty where none is declared.
    """

    observations: Observations
    parameters: AbabParameters
    scheme: RandomizationScheme
    declared: DeclaredImprovement
    test: RandomizationTest | None
    missing: MissingDays
    trend: Trend | None
    trend_part: float
    pairs: Sequence[Pair]
    appraisal: Appraisal
    contrasts: tuple[ContrastResults, ...] = ()

    @property
    def clauses(self) -> tuple[str, ...]:
        """What limits the numbers of the test, for the sentence."""
        return tuple(filter(None, (as_drawn(self.observations), self._trend_clause, self._missing_clause)))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a verdict that the test would give is not given."""
        if self.test is None:
            return ()
        if has_criteria(self.observations):
            return criterion_doubts(self.observations, self.missing)
        return missing_doubts(self.missing, self.parameters.alpha)

    @property
    def compared(self) -> tuple[str, str]:
        """The two conditions in words."""
        return compared_names(self.scheme.contrast if self.contrasts else None)

    @property
    def _trend_clause(self) -> str:
        if self.test is None or self.parameters.statistic == "slope":
            return ""
        part = self.trend_part if self.parameters.statistic == "mean" else None
        return trend_clause(self.trend, self.test.observed, part)

    @property
    def _missing_clause(self) -> str:
        return missing_clause(self.missing, self.compared)


def compute_abab_results(observations: Observations, parameters: AbabParameters) -> AbabResults:
    """Compute everything of a protocol that its verdict rests on."""
    scheme, *others = read_schemes(observations, parameters)
    declared = declared_improvement(observations.extract, parameters.improvement, parameters.direction)
    test, missing = _tested(scheme, parameters)
    trend, trend_part = None, 0.0
    if not is_alternation(observations) and not has_criteria(observations):
        treated = np.array([window.condition == "treatment" for window in observations.timeline.windows])
        trend = within_phase_trend(observations.days.values, observations.days.phase, treated)
    if trend is not None and scheme.case is not None:
        day_numbers = np.where(np.isnan(scheme.case.values), np.nan, np.arange(scheme.case.values.size))
        trend_part = trend.slope * Case(day_numbers, scheme.case.schedule, scheme.case.observed).contrast()
    missing = missing or missing_by_condition(observations)
    contrast = scheme.contrast if declared_contrasts(observations, parameters) else None
    return AbabResults(
        observations, parameters, scheme, declared, test, missing, trend, trend_part,
        effects(observations, parameters, declared.better, contrast), appraisal(observations, scheme, missing),
        _contrasts(observations, parameters, [scheme, *others], test, missing),
    )  # fmt: skip


def _tested(
    scheme: RandomizationScheme, parameters: AbabParameters
) -> tuple[RandomizationTest | None, MissingDays | None]:
    """The test of a scheme and its missing days, None where there is nothing to test."""
    if scheme.case is None:
        return None, None

    def run_test(case: Case, direction: Direction | None) -> RandomizationTest:
        return randomization_test(
            [case], direction=direction, level=parameters.alpha, seed=parameters.seed, draws=parameters.draws
        )

    if scheme.case.statistic == "distance":
        return run_test(scheme.case, "decrease"), None
    test = run_test(scheme.case, None if parameters.direction == "either" else parameters.direction)
    return test, missing_days(scheme.case, test, run_test)


def _contrasts(
    observations: Observations,
    parameters: AbabParameters,
    schemes: Sequence[RandomizationScheme],
    test: RandomizationTest | None,
    missing: MissingDays,
) -> tuple[ContrastResults, ...]:
    """The tests of all declared contrasts; that of the primary one is there already."""
    contrasts = declared_contrasts(observations, parameters)
    tests = [(test, missing if test else None), *(_tested(other, parameters) for other in schemes[1:])]
    adjusted = holm([1.0 if own is None else own.p for own, _ in tests])
    return tuple(
        ContrastResults(contrast, own_scheme, own, own_missing, p if own else None)
        for contrast, own_scheme, (own, own_missing), p in zip(contrasts, schemes, tests, adjusted, strict=False)
    )
