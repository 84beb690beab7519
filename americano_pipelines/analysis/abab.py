"""Analyse a protocol by the randomization test: from its days to a verdict and a methods paragraph."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from math import ceil

from pydantic import JsonValue

from americano_pipelines.analysis.abab_description import (
    days_by_condition,
    dependence_results,
    differences_by_intervention,
    effect_results,
    neighbour_results,
    outcome_scale,
)
from americano_pipelines.analysis.abab_methods import MEASURES, methods_of, statistic_of
from americano_pipelines.analysis.abab_results import (
    AbabResults,
    ContrastResults,
    compute_abab_results,
)
from americano_pipelines.analysis.alternation_plot import draw_alternation
from americano_pipelines.analysis.alternation_scheme import alternating_phases
from americano_pipelines.analysis.criterion_conformity import conformity, criteria_lead, criteria_of, outcome_moves
from americano_pipelines.analysis.daily_series import DAILY, Observations
from americano_pipelines.analysis.distribution_plot import draw_distribution
from americano_pipelines.analysis.missing_clauses import missing_clause, missing_doubts
from americano_pipelines.analysis.parameters import ABAB_VERSION, AbabParameters
from americano_pipelines.analysis.plots import draw_phases
from americano_pipelines.analysis.randomization_scheme import (
    NOT_A_TEST,
    RandomizationScheme,
    as_drawn,
    compared_names,
    has_criteria,
    is_alternation,
    verdict_blockers,
)
from americano_pipelines.analysis.result import Analysis, Pictures
from americano_pipelines.analysis.visual_analysis import draw_features, features_of, visual_results
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.effect_sizes import combined
from americano_pipelines.statistics.formulas import (
    CONFORMITY,
    DEPENDENCE,
    HOLM,
    NEIGHBOURS,
    TREND,
    VISUAL,
    Formula,
    effect_formulas,
    randomization_formulas,
)
from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome, shown_p
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import RandomizationTest
from americano_pipelines.statistics.recorded_fields import recorded_fields
from americano_pipelines.statistics.verdict import Remarks, Verdict, judge
from americano_pipelines.statistics.visual_features import VisualFeatures


def analyse_abab(observations: Observations, parameters: AbabParameters, *, as_of_us: int, compliance: str) -> Analysis:
    """Test, measure, appraise and judge a protocol of phases, or of days that alternate.

    What cannot be tested gets no verdict, with the reason.

    Args:
        observations: its days.
        parameters: the parameters.
        as_of_us: the instant of the data, microseconds since 1970 UTC; before the plan is over the verdict is
            `no verdict`.
        compliance: `planned`, `declared` or `exploratory`, for the figures, which people see without the report too.
    """
    results = compute_abab_results(observations, parameters)
    test, declared, scheme = results.test, results.declared, results.scheme
    verdicts = _contrast_verdicts(results, as_of_us)
    verdict = _verdict(results, verdict_blockers(observations, scheme, as_of_us), verdicts)
    trend = {**asdict(results.trend), "part of the difference": results.trend_part} if results.trend else None
    features = None if is_alternation(observations) else features_of(observations, declared.better)
    return Analysis(
        name="abab_randomization",
        version=ABAB_VERSION,
        sentence=verdict.sentence,
        results={
            "verdict": jsonable(asdict(verdict)),
            "test": _test_results(test, scheme, results),
            **({"contrasts": _contrast_results(results, verdict, verdicts)} if results.contrasts else {}),
            "declared improvement": jsonable(asdict(declared)),
            "missing days": jsonable(results.missing.recorded()),
            "effects": effect_results(observations, results.pairs, declared.better, declared.undeclared),
            **({"neighbouring days": neighbour_results(observations, scheme)} if is_alternation(observations) else {}),
            **({"criteria": conformity(observations, parameters.band)} if has_criteria(observations) else {}),
            "dependence": dependence_results(observations, declared.better, jsonable(trend)),
            **({"visual analysis": visual_results(features)} if features is not None else {}),
            "appraisal": jsonable(asdict(results.appraisal)),
            "phases": jsonable(observations.phase_table()),
            "days": observations.day_definition(),
            "counts": jsonable(observations.counts()),
            "formulas": jsonable([asdict(formula) for formula in _formulas(results)]),
        },
        pictures=Pictures(_pictures(results, features, verdict, compliance)),
        methods=methods_of(observations, parameters, scheme, declared),
        verdict=verdict.state,
        numbers=_numbers(results),
        counts=observations.counts(),
        files={DAILY: observations.daily_csv()},
        seed=test.seed if test else None,
        generator=test.generator if test else None,
    )


def _verdict(results: AbabResults, blockers: tuple[str, ...], others: Sequence[Verdict]) -> Verdict:
    """The verdict of the protocol: that of its only or its primary contrast, with the others in the sentence."""
    test, parameters, scheme, observations = results.test, results.parameters, results.scheme, results.observations
    beside = "".join(
        f" {other.contrast.words}: {verdict.state} ({_numbers_of_contrast(other)}){_reason_beside(other, verdict)}."
        for other, verdict in zip(results.contrasts[1:], others, strict=True)
    )
    shortfall = beside + (f" {results.appraisal.shortfall}" if results.appraisal.shortfall else "")
    if test is None:
        sentence = f"No verdict: {'; '.join(blockers)}. Descriptively, {_described(results)}."
        return Verdict("no verdict", blockers[0], sentence + shortfall)
    remedy = ""
    if isinstance(scheme.schedule, PhaseSchedule) and not scheme.schedule.starts and not has_criteria(observations):
        days = scheme.schedule.days_for(ceil(test.sides / parameters.alpha - 1e-9))
        remedy = (
            ", and the bounds of the phases never admit so many"
            if days is None
            else f"; with the same bounds {days} days would be needed"
        )
    remarks = Remarks(
        objections=blockers,
        doubts=results.doubts,
        remedy=remedy,
        clauses=results.clauses,
        undeclared=results.declared.undeclared,
        compared=results.compared,
        measure=MEASURES[parameters.statistic],
        criteria_lead=criteria_lead(results.observations) if has_criteria(results.observations) else None,
    )
    verdict = judge(test, level=parameters.alpha, improvement=results.declared.better, remarks=remarks)
    return replace(verdict, sentence=verdict.sentence + shortfall)


def _contrast_verdicts(results: AbabResults, as_of_us: int) -> list[Verdict]:
    """The verdicts of the contrasts after the primary one, each by its corrected p."""
    verdicts = []
    for other in results.contrasts[1:]:
        blockers = verdict_blockers(results.observations, other.scheme, as_of_us)
        if other.test is None or other.missing is None:
            why = (*blockers, "nothing was tested")[0]
            verdicts.append(Verdict("no verdict", why, f"No verdict: {why}."))
            continue
        compared = compared_names(other.contrast)
        remarks = Remarks(
            objections=blockers,
            doubts=missing_doubts(other.missing, results.parameters.alpha),
            clauses=tuple(filter(None, (as_drawn(results.observations), missing_clause(other.missing, compared)))),
            undeclared=results.declared.undeclared,
            compared=compared,
            measure=MEASURES[results.parameters.statistic],
            adjusted_p=other.adjusted_p,
        )
        verdicts.append(
            judge(other.test, level=results.parameters.alpha, improvement=results.declared.better, remarks=remarks)
        )
    return verdicts


def _reason_beside(other: ContrastResults, verdict: Verdict) -> str:
    """Why a contrast that was tested has no verdict, to be read after its numbers; else nothing."""
    return f": {verdict.why}" if other.test is not None and verdict.state == "no verdict" else ""


def _numbers_of_contrast(other: ContrastResults) -> str:
    """Difference and p of a contrast beside the primary one, in a clause."""
    if other.test is None or other.adjusted_p is None:
        return other.scheme.problem or "nothing was tested"
    difference = format_outcome(other.test.observed, decimals_for((other.test.observed,)), sign=True)
    return f"difference {difference}, p {shown_p(other.test.p)}, by Holm {shown_p(other.adjusted_p)}"


def _contrast_results(results: AbabResults, verdict: Verdict, others: Sequence[Verdict]) -> JsonValue:
    """All declared contrasts as JSON; the test and the verdict of the primary one are beside them already."""
    rows: list[JsonValue] = []
    for index, (own, judged) in enumerate(zip(results.contrasts, (verdict, *others), strict=True)):
        row: dict[str, JsonValue] = {
            "contrast": own.contrast.name,
            "primary": index == 0,
            "p": own.test.p if own.test else None,
            "p by Holm": own.adjusted_p,
        }
        if index:
            row |= {
                "verdict": jsonable(asdict(judged)),
                "test": _test_results(own.test, own.scheme, results),
                "missing days": jsonable(own.missing.recorded() if own.missing else None),
            }
        rows.append(row)
    return rows


def _described(results: AbabResults) -> str:
    """The differences of a protocol that was not tested, in a clause."""
    differences = differences_by_intervention(results.observations)
    if len(differences) > 1:
        decimals = decimals_for(differences.values())
        listed = [
            f"{kind} {'cannot be compared' if value is None else format_outcome(value, decimals, sign=True)}"
            for kind, value in differences.items()
        ]
        return f"the differences from baseline are {', '.join(listed)}"
    difference = combined(results.pairs, "mean_difference")
    if difference is None:
        return "no difference can be given"
    return f"the mean difference is {format_outcome(difference, decimals_for((difference,)), sign=True)}"


def _formulas(results: AbabResults) -> tuple[Formula, ...]:
    """The formulas of the numbers that this analysis gives."""
    test, parameters = results.test, results.parameters
    statistic = "distance" if has_criteria(results.observations) else parameters.statistic
    # A small distance from the criteria is as extreme, whatever way the outcome was expected to go.
    direction = "decrease" if has_criteria(results.observations) else parameters.direction
    tested = randomization_formulas(direction, test.two_sided, statistic) if test else ()
    trend = (TREND,) if results.trend else ()
    neighbours = NEIGHBOURS if is_alternation(results.observations) else ()
    holm = (HOLM,) if results.contrasts else ()
    criteria = (CONFORMITY,) if has_criteria(results.observations) else ()
    visual = () if is_alternation(results.observations) else VISUAL
    effects = effect_formulas(outcome_scale(parameters))
    return (*tested, *criteria, *holm, *effects, *neighbours, *DEPENDENCE, *trend, *visual)


def _test_results(test: RandomizationTest | None, scheme: RandomizationScheme, results: AbabResults) -> JsonValue:
    compared, observations = compared_names(scheme.contrast if results.contrasts else None), results.observations
    kind = "randomisation test" if scheme.admissible and test is not None else NOT_A_TEST
    if test is None or scheme.schedule is None:
        problem: dict[str, JsonValue] = {"why": scheme.problem} if scheme.problem else {}
        return {"kind": kind, "schedule from": scheme.source, **problem}
    return jsonable(
        {
            "kind": kind,
            **asdict(test),
            **(
                {"criteria lead to": criteria_lead(observations), "outcome moves": outcome_moves(observations)}
                if has_criteria(observations)
                else {}
            ),
            "statistic": statistic_of(results.observations, results.parameters.statistic, compared),
            "schedule": {**recorded_fields(scheme.schedule), "assignments": scheme.schedule.count},
            "schedule from": scheme.source,
            "tested as drawn": as_drawn(results.observations) or "the phases had the lengths that were drawn",
        }
    )


def _numbers(results: AbabResults) -> dict[str, float | None]:
    """The key numbers; those of the test are None without one, and two interventions have no number together."""
    test = results.test
    pairs = results.pairs if len(results.observations.timeline.interventions) == 1 else ()
    return {
        "observed": test.observed if test else None,
        "p": test.p if test else None,
        "smallest_p": test.smallest_p if test else None,
        "assignments": float(test.assignments) if test else None,
        "interval_low": test.interval.low if test else None,
        "interval_high": test.interval.high if test else None,
        "worst_case_p": results.missing.worst_case_p,
        "mean_difference": combined(pairs, "mean_difference"),
        "nap": combined(pairs, "overlap.nap"),
    }


def _pictures(
    results: AbabResults, features: VisualFeatures | None, verdict: Verdict, compliance: str
) -> dict[str, Callable[[], bytes]]:
    observations, test = results.observations, results.test
    title, outcome = observations.extract.protocol.title, observations.extract.outcome
    drawings: dict[str, Callable[[], bytes]] = {
        "phases.png": partial(_draw_days, results, title=f"{title}: {verdict.state}, {compliance}")
    }
    if test is not None:
        unit = (
            f"mean distance from the criterion, {outcome}"
            if has_criteria(observations)
            else f"{' minus '.join(results.compared)}{MEASURES[results.parameters.statistic]}, {outcome}"
        )
        drawings["distribution.png"] = partial(draw_distribution, test, unit=unit, compliance=compliance)
    if features is not None:
        by_eye = f"{title}: by eye, {compliance}"
        drawings["visual.png"] = partial(draw_features, observations, features, title=by_eye)
    return drawings


def _draw_days(results: AbabResults, *, title: str) -> bytes:
    observations = results.observations
    outcome, bands, values = observations.extract.outcome, observations.bands(), observations.days.values
    if is_alternation(observations):
        part, days = alternating_phases(observations), days_by_condition(observations)
        held = [band for index, band in enumerate(bands) if index not in part]
        return draw_alternation(values, list(days.items()), held, outcome=outcome, title=title)
    if has_criteria(observations):
        tolerance, criteria = results.parameters.band or 0.0, criteria_of(observations)
        bands = [replace(band, criterion=own, tolerance=tolerance) for band, own in zip(bands, criteria, strict=True)]
    return draw_phases(values, bands, observations.days.switched, outcome=outcome, title=title)
