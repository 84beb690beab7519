"""Analyse a protocol by the randomization test: from its days to a verdict and a methods paragraph."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import ceil

from pydantic import JsonValue

from americano_pipelines.analysis.abab_description import appraisal, dependence_results, effect_results, effects
from americano_pipelines.analysis.daily_series import DAILY, Observations
from americano_pipelines.analysis.plots import draw_distribution, draw_phases
from americano_pipelines.analysis.randomization_scheme import (
    NOT_A_TEST,
    RandomizationScheme,
    is_alternation,
    read_scheme,
    verdict_blockers,
)
from americano_pipelines.analysis.registry import ABAB_VERSION, AbabParameters
from americano_pipelines.analysis.result import Analysis, jsonable
from americano_pipelines.statistics.effect_sizes import Pair, combined
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import RandomizationTest, randomization_test
from americano_pipelines.statistics.verdict import Verdict, judge


def statistic_of(observations: Observations) -> str:
    """The test statistic in words."""
    if is_alternation(observations):
        return "mean of the treatment days less the mean of the baseline days"
    return "mean of the treatment phases' means less the mean of the baseline phases' means"


def methods_of(observations: Observations, parameters: AbabParameters, scheme: RandomizationScheme) -> str:
    """The methods paragraph.

    Args:
        observations: the protocol's days.
        parameters: the parameters.
        scheme: the randomization scheme.
    """
    days, phases = sum(observations.planned or observations.lengths), ", ".join(observations.labels)
    course = (
        f"through {days} days of baseline and treatment in a drawn order"
        if is_alternation(observations)
        else f"through {len(observations.labels)} phases ({phases}) of {', '.join(map(str, observations.lengths))} days"
    )
    cut = (
        "; days in which a phase switched were left out, under each assignment its own"
        if any(observations.timeline.cut)
        else ""
    )
    better = "higher" if parameters.improvement == "increase" else "lower"
    return (
        f"One learner went {course}. The outcome, {observations.extract.outcome} ({better} is better), was averaged by "
        "day, a "
        f"day being 24 hours from the start of the first phase{cut}. Days without a value kept their place. "
        f"{_tested(observations, parameters, scheme)} Overlap was measured by NAP with Newcombe's interval, which "
        "takes the days "
        "for independent."
    )


def _tested(observations: Observations, parameters: AbabParameters, scheme: RandomizationScheme) -> str:
    if scheme.case is None:
        return "No test was made, for no drawing is recorded that these phases could be compared with."
    every = (
        "every order of treatment and baseline days that the scheme admits"
        if is_alternation(observations)
        else f"every division of {sum(scheme.observed)} days into phases within the bounds that were drawn from"
    )
    sides = (
        "two-sided, on its absolute value"
        if parameters.direction == "either"
        else f"one-sided ({parameters.direction})"
    )
    compared = "was tested by a randomization test" if scheme.admissible else "was compared, which is no test,"
    return (
        f"The effect of the treatment {compared} with a reference set, {scheme.source}, that holds {every}. The "
        f"statistic was the {statistic_of(observations)}, {sides}, at a level of {parameters.alpha:g}. The two-sided "
        f"{1 - parameters.alpha:.0%} interval of the effect is that of the constant effects which inverting the test "
        "leaves."
    )


def analyse_abab(observations: Observations, parameters: AbabParameters, *, as_of_us: int, compliance: str) -> Analysis:
    """Test, measure, appraise and judge a protocol of phases, or of days that alternate.

    Args:
        observations: its days.
        parameters: the parameters.
        as_of_us: the instant of the data, microseconds since 1970 UTC; before the plan is over the verdict is
            `no verdict`.
        compliance: `planned` or `exploratory`, for the figures, which people see without the report too.

    Raises:
        AnalysisError: the design has no test here, an alternation has no recorded scheme, or a phase has no day with a
            value.
    """
    scheme = read_scheme(observations, parameters)
    test = None
    if scheme.case is not None:
        direction = None if parameters.direction == "either" else parameters.direction
        test = randomization_test(
            [scheme.case], direction=direction, confidence=1 - parameters.alpha, seed=parameters.seed
        )
    pairs = effects(observations, parameters)
    verdict = _verdict(test, scheme, pairs, parameters, verdict_blockers(observations, scheme, as_of_us))
    return Analysis(
        name="abab_randomization",
        version=ABAB_VERSION,
        sentence=verdict.sentence,
        results={
            "verdict": jsonable(asdict(verdict)),
            "test": _test_results(test, scheme, observations),
            "effects": effect_results(pairs, parameters),
            "dependence": dependence_results(observations, parameters),
            "appraisal": jsonable(asdict(appraisal(observations, scheme))),
            "phases": jsonable(observations.phase_table()),
            "counts": jsonable(observations.counts()),
        },
        pictures=_pictures(observations, test, verdict, compliance),
        methods=methods_of(observations, parameters, scheme),
        verdict=verdict.state,
        numbers=_numbers(test, pairs),
        counts=observations.counts(),
        files={DAILY: observations.daily_csv()},
        seed=test.seed if test else None,
        generator=test.generator if test else None,
    )


def _verdict(
    test: RandomizationTest | None,
    scheme: RandomizationScheme,
    pairs: Sequence[Pair],
    parameters: AbabParameters,
    blockers: tuple[str, ...],
) -> Verdict:
    if test is None:
        difference = combined(pairs, "mean_difference")
        description = (
            "no difference can be given" if difference is None else f"the mean difference is {difference:+.2f}"
        )
        return Verdict("no verdict", blockers[0], f"No verdict: {'; '.join(blockers)}. Descriptively, {description}.")
    remedy = ""
    if isinstance(scheme.schedule, PhaseSchedule):
        days = scheme.schedule.days_for(ceil(1 / parameters.alpha))
        remedy = (
            ", and the bounds of the phases never admit so many"
            if days is None
            else f"; with the same bounds {days} days would be needed"
        )
    return judge(test, level=parameters.alpha, improvement=parameters.improvement, objections=blockers, remedy=remedy)


def _test_results(test: RandomizationTest | None, scheme: RandomizationScheme, observations: Observations) -> JsonValue:
    kind = "randomisation test" if scheme.admissible and test is not None else NOT_A_TEST
    if test is None or scheme.schedule is None:
        return {"kind": kind, "schedule from": scheme.source}
    return jsonable(
        {
            "kind": kind,
            **asdict(test),
            "statistic": statistic_of(observations),
            "schedule": {**asdict(scheme.schedule), "assignments": scheme.schedule.count},
            "schedule from": scheme.source,
        }
    )


def _numbers(test: RandomizationTest | None, pairs: Sequence[Pair]) -> dict[str, float | None]:
    """The key numbers; those of the test are None without one."""
    return {
        "observed": test.observed if test else None,
        "p": test.p if test else None,
        "smallest_p": test.smallest_p if test else None,
        "assignments": float(test.assignments) if test else None,
        "interval_low": test.interval.low if test else None,
        "interval_high": test.interval.high if test else None,
        "mean_difference": combined(pairs, "mean_difference"),
        "nap": combined(pairs, "overlap.nap"),
    }


def _pictures(
    observations: Observations, test: RandomizationTest | None, verdict: Verdict, compliance: str
) -> dict[str, bytes]:
    protocol, outcome = observations.extract.protocol, observations.extract.outcome
    title, bands = f"{protocol.title}: {verdict.state}, {compliance}", observations.bands()
    if is_alternation(observations):  # a name for each day would cover the next one
        title, bands = f"{title} (treatment days on orange)", [replace(band, label="") for band in bands]
    pictures = {
        "phases.png": draw_phases(
            observations.days.values, bands, observations.days.switched, outcome=outcome, title=title
        )
    }
    if test is not None:
        sides = "two-sided" if test.direction is None else f"one-sided, {test.direction}"
        p = (
            f"p = {test.p:.4f} ({sides}), {compliance}"
            if test.admissible
            else f"{NOT_A_TEST}: p = {test.p:.4f} only describes"
        )
        pictures["distribution.png"] = draw_distribution(
            test.edges,
            test.counts,
            test.observed,
            unit=f"treatment minus baseline, {outcome}",
            title=f"{test.assignments:,} possible assignments, {p}",
            two_sided=test.direction is None,
        )
    return pictures
