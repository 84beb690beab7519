"""Analyse a group as a multiple baseline: from the days of its cases to a verdict and a methods paragraph."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial

from pydantic import JsonValue

from americano_pipelines.analysis.daily_series import DAILY, Observations
from americano_pipelines.analysis.distribution_plot import draw_distribution
from americano_pipelines.analysis.group_extract import GroupExtract
from americano_pipelines.analysis.method_sentences import better_in_words, interval_sentence, sides_in_words
from americano_pipelines.analysis.missing_clauses import missing_clause, missing_doubts
from americano_pipelines.analysis.multiple_baseline_results import MultipleBaselineResults, compute_multiple_baseline
from americano_pipelines.analysis.multiple_baseline_scheme import joint_blockers
from americano_pipelines.analysis.parameters import MULTIPLE_BASELINE_VERSION, MultipleBaselineParameters
from americano_pipelines.analysis.randomization_scheme import NOT_A_TEST, as_drawn, compared_names
from americano_pipelines.analysis.registry import MULTIPLE_BASELINE
from americano_pipelines.analysis.result import Analysis, Pictures
from americano_pipelines.analysis.tier_plot import Tier, draw_tiers
from americano_pipelines.analysis.trend_clauses import trend_clause
from americano_pipelines.analysis.visual_analysis import features_of, visual_results
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.effect_sizes import INDEPENDENCE, OutcomeScale
from americano_pipelines.statistics.formulas import (
    BETWEEN_CASES,
    TREND,
    VISUAL,
    Formula,
    effect_formulas,
    multiple_baseline_formulas,
)
from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome
from americano_pipelines.statistics.verdict import Remarks, Verdict, judge

_STATISTIC = "mean over the cases of the treatment days' mean less the baseline days' mean"


def analyse_multiple_baseline(
    extract: GroupExtract, parameters: MultipleBaselineParameters, *, as_of_us: int, compliance: str
) -> Analysis:
    """Test, measure and judge a group; what cannot be tested gets no verdict, with the reason.

    Args:
        extract: its protocols.
        parameters: the parameters.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
        compliance: `planned`, `declared` or `exploratory`, for the figures.
    """
    results = compute_multiple_baseline(extract, parameters)
    test, scheme, declared, missing = results.test, results.scheme, results.declared, results.missing
    verdict = _verdict(results, joint_blockers(results.cases, scheme, as_of_us))
    counts = _counts(results.cases)
    return Analysis(
        name=MULTIPLE_BASELINE,
        version=MULTIPLE_BASELINE_VERSION,
        sentence=verdict.sentence,
        results={
            "verdict": jsonable(asdict(verdict)),
            "test": _test_results(results),
            "declared improvement": jsonable(asdict(declared)),
            "missing days": jsonable(missing.recorded()),
            "dependence": {"trend within phases": _trend_results(results)},
            "effects": _effect_results(results),
            "visual analysis": _visual_results(results),
            "appraisal": jsonable(asdict(results.appraisal)),
            "phases": jsonable(
                [
                    {"case": title, **row}
                    for title, case in zip(results.titles, results.cases, strict=True)
                    for row in case.phase_table()
                ]
            ),
            "days": jsonable(
                {title: case.day_definition() for title, case in zip(results.titles, results.cases, strict=True)}
            ),
            "counts": jsonable(counts),
            "formulas": jsonable([asdict(formula) for formula in _formulas(results)]),
        },
        pictures=Pictures(_pictures(results, verdict, compliance)),
        methods=_methods(results),
        verdict=verdict.state,
        numbers={
            "observed": test.observed if test else None,
            "p": test.p if test else None,
            "smallest_p": test.smallest_p if test else None,
            "assignments": float(test.assignments) if test else None,
            "interval_low": test.interval.low if test else None,
            "interval_high": test.interval.high if test else None,
            "worst_case_p": missing.worst_case_p,
            "mean_difference": results.mean_of("mean_difference"),
            "nap": results.mean_of("overlap.nap"),
        },
        counts=counts,
        files={DAILY: _daily_csv(results)},
        seed=test.seed if test else None,
        generator=test.generator if test else None,
    )


def _verdict(results: MultipleBaselineResults, blockers: tuple[str, ...]) -> Verdict:
    test, missing, parameters = results.test, results.missing, results.parameters
    shortfall = f" {results.appraisal.shortfall}" if results.appraisal.shortfall else ""
    if test is None:
        difference = results.mean_of("mean_difference")
        described = "no difference can be given"
        if difference is not None:
            shown = format_outcome(difference, decimals_for((difference,)), sign=True)
            described = f"the mean difference of the cases is {shown}"
        sentence = f"No verdict: {'; '.join(blockers)}. Descriptively, {described}."
        return Verdict("no verdict", blockers[0], sentence + shortfall)
    clauses = [f"averaged over {len(results.cases)} cases{_cases_the_other_way(results)}"]
    clauses += [
        f"{title}: {words}"
        for title, case in zip(results.titles, results.cases, strict=True)
        if (words := as_drawn(case))
    ]
    trend = trend_clause(results.trend, test.observed, results.trend_part)
    clauses += filter(None, [trend, missing_clause(missing, compared_names(None))])
    remarks = Remarks(
        objections=blockers,
        doubts=missing_doubts(missing, parameters.alpha),
        remedy=", which more cases or wider windows give",
        clauses=tuple(clauses),
        undeclared=results.declared.undeclared,
    )
    verdict = judge(test, level=parameters.alpha, improvement=results.declared.better, remarks=remarks)
    return replace(verdict, sentence=verdict.sentence + shortfall)


def _cases_the_other_way(results: MultipleBaselineResults) -> str:
    """The cases that differ the other way than their mean, with their differences; empty where none does."""
    test, experiment = results.test, results.scheme.experiment
    if test is None or experiment is None:
        return ""
    differences = experiment.contrasts()
    decimals = decimals_for((*differences, test.observed))
    opposite = [
        f"{title} {format_outcome(difference, decimals, sign=True)}"
        for title, difference in zip(results.titles, differences, strict=True)
        if difference * test.observed < 0
    ]
    return f", of which these differ the other way: {', '.join(opposite)}" if opposite else ""


def _test_results(results: MultipleBaselineResults) -> JsonValue:
    test, scheme = results.test, results.scheme
    if test is None or scheme.experiment is None:
        return {"kind": NOT_A_TEST, "why": scheme.problem}
    contrasts = scheme.experiment.contrasts()
    return jsonable(
        {
            "kind": "randomisation test" if test.admissible else NOT_A_TEST,
            **asdict(test),
            "statistic": _STATISTIC,
            "schedule": {**asdict(scheme.experiment.schedule), "assignments": test.assignments},
            "schedule from": "recorded with the phases",
            "drawing": scheme.words,
            "cases": [
                {"case": title, "baseline days": start, "difference": difference}
                for title, start, difference in zip(results.titles, scheme.experiment.starts, contrasts, strict=True)
            ],
        }
    )


def _trend_results(results: MultipleBaselineResults) -> JsonValue:
    if results.trend is None:
        return None
    return jsonable({**asdict(results.trend), "part of the difference": results.trend_part})


def _effect_results(results: MultipleBaselineResults) -> JsonValue:
    better, between = results.declared.better, results.between_cases
    effects: dict[str, JsonValue] = {
        "improvement": better,
        "cases": jsonable([{"case": title, **asdict(pair)} for title, pair in results.pairs]),
        "combined": {name: results.mean_of(name) for name in ("mean_difference", "overlap.nap")},
        "between cases": {"why there is none": between} if isinstance(between, str) else jsonable(asdict(between)),
        "note": INDEPENDENCE,
    }
    if better is None:
        effects["improvement note"] = (
            f"{results.declared.undeclared}; signs and overlap are those of higher values under treatment"
        )
    return effects


def _visual_results(results: MultipleBaselineResults) -> JsonValue:
    better = results.declared.better
    return [
        {"case": title, "features": visual_results(features_of(case, better))}
        for title, case in zip(results.titles, results.cases, strict=True)
    ]


def _formulas(results: MultipleBaselineResults) -> tuple[Formula, ...]:
    """The formulas of the numbers that this analysis gives."""
    tested = multiple_baseline_formulas(results.parameters.direction) if results.test else ()
    trend = (TREND,) if results.trend else ()
    between = () if isinstance(results.between_cases, str) else BETWEEN_CASES
    return (*tested, *trend, *effect_formulas(OutcomeScale()), *between, *VISUAL)


def _counts(cases: Sequence[Observations]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for case in cases:
        total.update(case.counts())
    return {"cases": len(cases), **total}


def _daily_csv(results: MultipleBaselineResults) -> bytes:
    """The days of all cases, with the case in the first column."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for index, case in enumerate(results.cases):
        header, *rows = csv.reader(io.StringIO(case.daily_csv().decode()))
        if index == 0:
            writer.writerow(["case", *header])
        writer.writerows([index + 1, *row] for row in rows)
    return stream.getvalue().encode()


def _pictures(results: MultipleBaselineResults, verdict: Verdict, compliance: str) -> dict[str, Callable[[], bytes]]:
    drawings: dict[str, Callable[[], bytes]] = {}
    outcome = results.extract.outcome
    if all(len(case.timeline.windows) == len(("baseline", "treatment")) for case in results.cases):
        tiers = [
            Tier(title, case.days.values, case.bands()[1].first, case.days.switched)
            for title, case in zip(results.titles, results.cases, strict=True)
        ]
        title = f"{results.extract.title}: {verdict.state}, {compliance}"
        drawings["phases.png"] = partial(draw_tiers, tiers, outcome=outcome, title=title)
    if results.test is not None:
        unit = f"treatment minus baseline, mean of the cases, {outcome}"
        drawings["distribution.png"] = partial(draw_distribution, results.test, unit=unit, compliance=compliance)
    return drawings


def _methods(results: MultipleBaselineResults) -> str:
    """The methods paragraph."""
    parameters, scheme, declared = results.parameters, results.scheme, results.declared
    lengths = "; ".join(
        f"{title}, {' and '.join(map(str, case.lengths_as_drawn))} days"
        for title, case in zip(results.titles, results.cases, strict=True)
    )
    cut = (
        " A day within which treatment started was left out, under each assignment its own."
        if any(any(case.timeline.cut) for case in results.cases)
        else ""
    )
    begins = {case.timeline.windows[0].starts_us for case in results.cases}
    time = "at the same time" if len(begins) == 1 else "at different times (non-concurrent)"
    opening = (
        f"In a multiple baseline across {len(results.cases)} cases, each case went through a baseline and then a "
        f"treatment phase ({lengths}). The baselines began {time}. The outcome, {results.extract.outcome} "
        f"({better_in_words(declared)}), was averaged by day.{cut} Days without a value kept their place."
    )
    if scheme.experiment is None:
        return f"{opening} No test was made: {scheme.problem}."
    return (
        f"{opening} As recorded, {scheme.words}. The effect of the treatment was tested by a randomization test "
        f"against all {scheme.experiment.schedule.count:,} joint starts of treatment that this admits. The statistic "
        f"was the {_STATISTIC}, {sides_in_words(parameters.direction)}, at a level of {parameters.alpha:g}. "
        f"{interval_sentence(parameters.alpha)} Days without a value were compared between the conditions by the same "
        "test, and the test was repeated with the worst values on them, within the observed range of each case."
    )
