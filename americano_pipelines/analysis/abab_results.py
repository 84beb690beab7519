"""Compute what a protocol's randomization test is judged by: test, missing days, trend, effects, appraisal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from americano_pipelines.analysis.abab_description import appraisal, effects, missing_by_condition
from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.declared_improvement import DeclaredImprovement, declared_improvement
from americano_pipelines.analysis.randomization_scheme import (
    RandomizationScheme,
    as_drawn,
    is_alternation,
    read_scheme,
)
from americano_pipelines.analysis.registry import AbabParameters
from americano_pipelines.statistics.design_appraisal import Appraisal
from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.effect_sizes import Pair
from americano_pipelines.statistics.missing_days import MissingDays, missing_days
from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome, shown_p
from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest, randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines.statistics.verdict import shown_level
from americano_pipelines.statistics.within_phase_trend import Trend, within_phase_trend


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

    @property
    def clauses(self) -> tuple[str, ...]:
        """What limits the numbers of the test, for the sentence."""
        return tuple(filter(None, (as_drawn(self.observations), self._trend_clause, self._missing_clause)))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a verdict that the test would give is not given."""
        missing, level = self.missing, self.parameters.alpha
        worst, bound = missing.worst_case_p, missing.worst_case_bound
        if worst is None or bound is None or not missing.is_unequal or missing.is_settled(level):
            return ()
        p = (
            f"p may be as large as {shown_p(bound)} ({shown_p(worst)} was reached)"
            if rejects(worst, level)
            else f"p is {'' if worst == bound else 'at least '}{shown_p(worst)}"
        )
        why = f"with the worst values on them {p}, above the level of {shown_level(level)}"
        return (f"the conditions lack values on unequal shares of their days, and {why}",)

    @property
    def _trend_clause(self) -> str:
        if self.trend is None or not self.trend.visible or self.test is None:
            return ""
        decimals = decimals_for((self.test.observed, self.trend_part))
        way = "rises" if self.trend.slope > 0 else "falls"
        slope = format_outcome(abs(self.trend.slope), decimals_for((self.trend.slope,)))
        return (
            f"within phases the outcome {way} by {slope} a day, which makes "
            f"{format_outcome(self.trend_part, decimals, sign=True)} of this difference"
        )

    @property
    def _missing_clause(self) -> str:
        missing = self.missing
        if not missing.treatment_missing + missing.baseline_missing:
            return ""
        tested = f" (difference p = {shown_p(missing.p)}" if missing.p is not None else ""
        return f"{missing.clause}{tested}{self._worst_case})" if tested else missing.clause

    @property
    def _worst_case(self) -> str:
        """The p with the worst values on missing days, for the sentence."""
        worst, bound = self.missing.worst_case_p, self.missing.worst_case_bound
        if worst is None or bound is None:
            return ""
        least, most = shown_p(worst), shown_p(bound)
        p = f"p = {least}" if least == most else f"p is at least {least} and at most {most}"
        return f"; with the worst values on them {p}"


def compute_abab_results(observations: Observations, parameters: AbabParameters) -> AbabResults:
    """Compute everything of a protocol that its verdict rests on."""
    scheme = read_scheme(observations, parameters)
    declared = declared_improvement(observations.extract, parameters.improvement, parameters.direction)
    test, missing = None, missing_by_condition(observations)
    if scheme.case is not None:

        def run_test(case: Case, direction: Direction | None) -> RandomizationTest:
            return randomization_test(
                [case], direction=direction, level=parameters.alpha, seed=parameters.seed, draws=parameters.draws
            )

        test = run_test(scheme.case, None if parameters.direction == "either" else parameters.direction)
        missing = missing_days(scheme.case, test, run_test)
    trend, trend_part = None, 0.0
    if not is_alternation(observations):
        treated = np.array([window.condition == "treatment" for window in observations.timeline.windows])
        trend = within_phase_trend(observations.days.values, observations.days.phase, treated)
    if trend is not None and scheme.case is not None:
        day_numbers = np.where(np.isnan(scheme.case.values), np.nan, np.arange(scheme.case.values.size))
        trend_part = trend.slope * Case(day_numbers, scheme.case.schedule, scheme.case.observed).contrast()
    return AbabResults(
        observations, parameters, scheme, declared, test, missing, trend, trend_part,
        effects(observations, parameters, declared.better), appraisal(observations, scheme, missing),
    )  # fmt: skip
