"""The randomization test of a protocol: from its extract to a verdict.

Here belongs putting the statistics together for a phase design, and every objection to a verdict. The statistics are
`research/`; how it is shown is `report.py`.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from math import ceil

from pydantic import JsonValue

from americano_pipelines.analysis.config import AbabParameters
from americano_pipelines.analysis.observations import Observations
from americano_pipelines.analysis.outcome import Analysis, jsonable
from americano_pipelines.analysis.plots import draw_distribution, draw_phases
from americano_pipelines.errors import AnalysisError
from americano_pipelines.research.appraisal import Appraisal, appraise
from americano_pipelines.research.dependence import phase_dependence, residual_autocorrelations, reversal
from americano_pipelines.research.effects import Pair, combined, compare
from americano_pipelines.research.overlap import INDEPENDENCE
from americano_pipelines.research.randomization import Case, RandomizationTest, randomization_test
from americano_pipelines.research.schedules import PhaseSchedule
from americano_pipelines.research.verdict import Verdict, judge

VERSION = "1"
NOT_A_TEST = "not a randomisation test"
_REFUSED = {
    "MULTIPLE_BASELINE": "its switches are drawn across several learners, and a protocol here has one",
    "CHANGING_CRITERION": "its criteria are steps that nothing was drawn for",
    "ALTERNATING": "which days it drew from is not recorded in its phases",
}
_COMBINED = ("mean_difference", "median_difference", "overlap.nap", "overlap.tau", "overlap.tau_u", "overlap.pnd",
             "smd_baseline.value", "smd_pooled.value", "log_response_ratio")  # fmt: skip


def analyse_abab(seen: Observations, asked: AbabParameters, *, as_of_us: int) -> Analysis:
    """Test, measure, appraise and judge a protocol of phases.

    Args:
        seen: its days.
        asked: the parameters.
        as_of_us: the instant that the data are of, microseconds since 1970 UTC: before the plan is over there is no
            verdict.

    Raises:
        AnalysisError: the design is none of phases, or a phase has no day with a value.
    """
    design = seen.extract.protocol.design
    if design in _REFUSED:
        raise AnalysisError(f"a design of type {design} has no randomization test here: {_REFUSED[design]}")
    schedule, source = _schedule(seen, asked)
    objections = _objections(seen, schedule, as_of_us)
    test = None
    if schedule is not None and schedule.contains(seen.lengths):
        case = Case(seen.days.values, schedule, seen.lengths)
        test = randomization_test(
            [case],
            direction=None if asked.direction == "either" else asked.direction,
            confidence=1 - asked.alpha,
            seed=asked.seed,
        )
    conditions = [window.condition for window in seen.timeline.windows]
    pairs = compare(
        seen.labels,
        conditions,
        [seen.phase_values(index, missing=False) for index in range(len(conditions))],
        improvement=asked.improvement,
        ratio_scale=asked.ratio_scale,
    )
    verdict = _verdict(test, schedule, pairs, asked, objections)
    results: dict[str, JsonValue] = {
        "verdict": jsonable(asdict(verdict)),
        "test": _test_results(test, schedule, source),
        "effects": {
            "pairs": jsonable([asdict(pair) for pair in pairs]),
            "combined": {name: combined(pairs, name) for name in _COMBINED},
            "note": INDEPENDENCE,
        },
        "dependence": _dependence(seen, asked),
        "appraisal": jsonable(asdict(_appraisal(seen, schedule))),
        "phases": jsonable(seen.phase_table()),
        "counts": jsonable(seen.counts()),
    }
    protocol, outcome = seen.extract.protocol, seen.extract.outcome
    title = f"{protocol.name or protocol.protocol_id}: {verdict.state}"
    pictures = {
        "phases.png": draw_phases(seen.days.values, seen.bands(), seen.days.switched, outcome=outcome, title=title)
    }
    if test is not None:
        sides = "two-sided" if test.direction is None else f"one-sided, {test.direction}"
        pictures["distribution.png"] = draw_distribution(
            test.edges,
            test.counts,
            test.observed,
            unit=f"treatment minus baseline, {outcome}",
            title=f"{test.assignments:,} possible assignments, p = {test.p:.4f} ({sides})",
            two_sided=test.direction is None,
        )
    return Analysis(
        name="abab_randomization",
        version=VERSION,
        sentence=verdict.sentence,
        results=results,
        pictures=pictures,
        methods=_methods(seen, asked, source),
        verdict=verdict.state,
        numbers=_numbers(test, pairs),
    )


def _numbers(test: RandomizationTest | None, pairs: list[Pair]) -> dict[str, float | None]:
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


def _schedule(seen: Observations, asked: AbabParameters) -> tuple[PhaseSchedule | None, str]:
    """What could have been drawn, and where that is from; None when nobody recorded it: there is no default."""
    treated = tuple(window.condition == "treatment" for window in seen.timeline.windows)
    total = sum(seen.planned) if seen.planned else sum(seen.lengths)
    recorded = [
        phase.parameters.get("randomization") if isinstance(phase.parameters, dict) else None
        for phase in seen.extract.phases
    ]
    bounds = [(one.get("minDays"), one.get("maxDays")) for one in recorded if isinstance(one, dict)]
    if len(bounds) == len(treated) and all(isinstance(days, int) for both in bounds for days in both):
        low, high = zip(*bounds, strict=True)
        return PhaseSchedule(total, treated, low, high), "recorded with the phases"
    if asked.min_days is None or asked.max_days is None:
        return None, "nowhere"
    number = len(treated)
    claimed = PhaseSchedule(total, treated, (asked.min_days,) * number, (asked.max_days,) * number)
    return claimed, "given with the request, so this is exploratory"


def _objections(seen: Observations, schedule: PhaseSchedule | None, as_of_us: int) -> list[str]:
    """What forbids a verdict whatever the numbers."""
    found = []
    if schedule is None:
        found.append(f"{NOT_A_TEST}, for no drawing of the phases is recorded")
    elif not schedule.contains(seen.lengths):
        lengths = ", ".join(map(str, seen.lengths))
        found.append(f"{NOT_A_TEST}, for phases of {lengths} days could not have been drawn")
    elif seen.planned is not None and seen.planned != seen.lengths:
        planned, actual = (", ".join(map(str, lengths)) for lengths in (seen.planned, seen.lengths))
        found.append(f"the phases were not kept as drawn ({planned} days planned, {actual} days kept)")
    if as_of_us < seen.planned_end_us:
        end = datetime.fromtimestamp(seen.planned_end_us / 1e6, UTC)
        found.append(f"the plan is not over before {end:%Y-%m-%d}")
    return found


def _verdict(
    test: RandomizationTest | None,
    schedule: PhaseSchedule | None,
    pairs: list[Pair],
    asked: AbabParameters,
    objections: list[str],
) -> Verdict:
    if test is None:
        difference = combined(pairs, "mean_difference")
        told = "no difference can be given" if difference is None else f"the mean difference is {difference:+.2f}"
        return Verdict("no verdict", objections[0], f"No verdict: {'; '.join(objections)}. Descriptively, {told}.")
    needed = schedule.days_for(ceil(1 / asked.alpha)) if schedule is not None else None
    return judge(
        test, level=asked.alpha, improvement=asked.improvement, objections=tuple(objections), days_needed=needed
    )


def _test_results(test: RandomizationTest | None, schedule: PhaseSchedule | None, source: str) -> JsonValue:
    if test is None or schedule is None:
        return {"kind": NOT_A_TEST, "schedule from": source}
    return jsonable(
        {
            **asdict(test),
            "statistic": "mean of treatment phase means minus mean of baseline phase means",
            "schedule": {**asdict(schedule), "assignments": schedule.count},
            "schedule from": source,
        }
    )


def _dependence(seen: Observations, asked: AbabParameters) -> JsonValue:
    phases = [seen.phase_values(index) for index in range(len(seen.labels))]
    conditions = [window.condition for window in seen.timeline.windows]
    looked = [
        phase_dependence(label, values, asked.improvement) for label, values in zip(seen.labels, phases, strict=True)
    ]
    return jsonable(
        {
            "phases": [asdict(one) for one in looked],
            "residual autocorrelation": residual_autocorrelations(phases),
            "reversal NAP, baseline 2 against 1": reversal(conditions, phases, asked.improvement),
        }
    )


def _appraisal(seen: Observations, schedule: PhaseSchedule | None) -> Appraisal:
    noted = seen.extract.protocol.deviations
    return appraise(
        seen.labels,
        [window.condition for window in seen.timeline.windows],
        [int(seen.phase_values(index, missing=False).size) for index in range(len(seen.labels))],
        randomised=schedule is not None and schedule.contains(seen.lengths),
        as_planned=seen.planned == seen.lengths,
        deviations=len(noted) if isinstance(noted, list) else int(bool(noted)),
    )


def _methods(seen: Observations, asked: AbabParameters, source: str) -> str:
    """A paragraph that a paper could print."""
    lengths = ", ".join(map(str, seen.lengths))
    sides = f"one-sided ({asked.direction})" if asked.direction else "two-sided, on its absolute value"
    return (
        f"One learner went through {len(seen.labels)} phases ({', '.join(seen.labels)}) of {lengths} days. The "
        f"outcome, "
        f"{seen.extract.outcome}, was averaged by day, a day being 24 hours from the start of the first phase; days in "
        "which a phase switched were left out, and days without a value kept their place. The effect of the treatment "
        f"was tested by a randomization test whose reference set, {source}, holds every division of "
        f"{sum(seen.planned or seen.lengths)} days into phases within the bounds that were drawn from. The "
        f"statistic was "
        f"the mean of the treatment phases' means less the mean of the baseline phases' means, {sides}, at a level of "
        f"{asked.alpha:g}. The {1 - asked.alpha:.0%} interval of the effect was found by inverting the test. Overlap "
        "was measured by NAP with Newcombe's interval, which takes the days for independent."
    )
