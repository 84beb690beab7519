"""The randomization test of a protocol: from its days to a verdict.

Here belongs putting test, effects and appraisal together. What was drawn, and what objects to a verdict, is
`design.py`; what is measured besides, `description.py`; how it was done, in words, `methods.py`. The statistics are
`research/`.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import ceil

from pydantic import JsonValue

from americano_pipelines.analysis.config import AbabParameters
from americano_pipelines.analysis.description import appraisal, dependence_results, effect_results, effects
from americano_pipelines.analysis.design import NOT_A_TEST, Drawing, drawing, is_alternation, objections
from americano_pipelines.analysis.methods import methods_of, statistic_of
from americano_pipelines.analysis.observations import Observations
from americano_pipelines.analysis.outcome import Analysis, jsonable
from americano_pipelines.analysis.plot_distribution import draw_distribution
from americano_pipelines.analysis.plots import draw_phases
from americano_pipelines.research.effects import Pair, combined
from americano_pipelines.research.randomization import RandomizationTest, randomization_test
from americano_pipelines.research.schedules import PhaseSchedule
from americano_pipelines.research.verdict import Verdict, judge

VERSION = "2"


def analyse_abab(seen: Observations, asked: AbabParameters, *, as_of_us: int, standing: str) -> Analysis:
    """Test, measure, appraise and judge a protocol of phases, or of days that alternate.

    Args:
        seen: its days.
        asked: the parameters.
        as_of_us: the instant that the data are of, microseconds since 1970 UTC: before the plan is over there is no
            verdict.
        standing: `planned` or `exploratory`, for the pictures: they are looked at without the page.

    Raises:
        AnalysisError: the design has no test here, an alternation has no recorded scheme, or a phase has no day with a
            value.
    """
    drawn = drawing(seen, asked)
    test = None
    if drawn.case is not None:
        direction = None if asked.direction == "either" else asked.direction
        test = randomization_test([drawn.case], direction=direction, confidence=1 - asked.alpha, seed=asked.seed)
    pairs = effects(seen, asked)
    verdict = _verdict(test, drawn, pairs, asked, objections(seen, drawn, as_of_us))
    return Analysis(
        name="abab_randomization",
        version=VERSION,
        sentence=verdict.sentence,
        results={
            "verdict": jsonable(asdict(verdict)),
            "test": _test_results(test, drawn, seen),
            "effects": effect_results(pairs, asked),
            "dependence": dependence_results(seen, asked),
            "appraisal": jsonable(asdict(appraisal(seen, drawn))),
            "phases": jsonable(seen.phase_table()),
            "counts": jsonable(seen.counts()),
        },
        pictures=_pictures(seen, test, verdict, standing),
        methods=methods_of(seen, asked, drawn),
        verdict=verdict.state,
        numbers=_numbers(test, pairs),
        seed=test.seed if test else None,
        generator=test.generator if test else None,
    )


def _verdict(
    test: RandomizationTest | None,
    drawn: Drawing,
    pairs: Sequence[Pair],
    asked: AbabParameters,
    against: tuple[str, ...],
) -> Verdict:
    if test is None:
        difference = combined(pairs, "mean_difference")
        told = "no difference can be given" if difference is None else f"the mean difference is {difference:+.2f}"
        return Verdict("no verdict", against[0], f"No verdict: {'; '.join(against)}. Descriptively, {told}.")
    remedy = ""
    if isinstance(drawn.schedule, PhaseSchedule):
        days = drawn.schedule.days_for(ceil(1 / asked.alpha))
        remedy = (
            ", and the bounds of the phases never admit so many"
            if days is None
            else f"; with the same bounds {days} days would be needed"
        )
    return judge(test, level=asked.alpha, improvement=asked.improvement, objections=against, remedy=remedy)


def _test_results(test: RandomizationTest | None, drawn: Drawing, seen: Observations) -> JsonValue:
    kind = "randomisation test" if drawn.admissible and test is not None else NOT_A_TEST
    if test is None or drawn.schedule is None:
        return {"kind": kind, "schedule from": drawn.source}
    return jsonable(
        {
            "kind": kind,
            **asdict(test),
            "statistic": statistic_of(seen),
            "schedule": {**asdict(drawn.schedule), "assignments": drawn.schedule.count},
            "schedule from": drawn.source,
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


def _pictures(seen: Observations, test: RandomizationTest | None, verdict: Verdict, standing: str) -> dict[str, bytes]:
    protocol, outcome = seen.extract.protocol, seen.extract.outcome
    title, bands = f"{protocol.name or protocol.protocol_id}: {verdict.state}, {standing}", seen.bands()
    if is_alternation(seen):  # a name for each day would cover the next one
        title, bands = f"{title} (treatment days on orange)", [replace(band, label="") for band in bands]
    pictures = {"phases.png": draw_phases(seen.days.values, bands, seen.days.switched, outcome=outcome, title=title)}
    if test is not None:
        sides = "two-sided" if test.direction is None else f"one-sided, {test.direction}"
        p = (
            f"p = {test.p:.4f} ({sides}), {standing}"
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
