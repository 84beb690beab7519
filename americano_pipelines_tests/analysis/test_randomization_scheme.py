"""What was drawn: switches within a day, two phases, days that alternate; all against brute force."""

from itertools import combinations, groupby, permutations, product
from typing import Any

import numpy as np
import pytest

from americano_pipelines.analysis.abab import analyse_abab
from americano_pipelines.analysis.abab_methods import methods_of
from americano_pipelines.analysis.condition_contrasts import contrasts_of
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.declared_improvement import declared_improvement
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.analysis.randomization_scheme import read_scheme
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import randomization_test
from americano_pipelines_tests.analysis.examples import LATER, ORIGIN, alternating, alternating_part, changed, switching

HOURS = (0, 9, 0, 14.5)
DRAWN = PhaseSchedule(36, (False, True, False, True), (6,) * 4, (12,) * 4)
ORDER = "BTTBTBBTTBBT"
PAIRS = {"scheme": "days", "treatedDays": 1, "blockDays": 2}


def analysed(extract: Extract, **parameters: object) -> Analysis:
    validated = AbabParameters.model_validate(parameters)
    return analyse_abab(observe(extract), validated, as_of_us=LATER, compliance="planned")


def difference(values: np.ndarray, lengths: tuple[int, ...]) -> float:
    """Of the means of phases that begin at HOURS, from four events a day: by day, and days that are cut left out."""
    phases = [
        part[int(hour > 0) :].mean()
        for part, hour in zip(np.split(values.reshape(-1, 4).mean(axis=1), np.cumsum(lengths)[:-1]), HOURS, strict=True)
    ]
    return float(phases[1] + phases[3] - phases[0] - phases[2]) / 2


def series(generator: np.random.Generator, effect: float = 0) -> np.ndarray:
    treated = np.repeat([0, 1, 0, 1], np.array([9, 8, 10, 9]) * 4)
    return generator.normal(size=144) + np.repeat(generator.normal(size=36), 4) + effect * treated


def test_each_assignment_has_its_own_switches_within_a_day() -> None:
    values = series(np.random.default_rng(5), effect=0.9)
    extract = switching((9, 8, 10, 9), HOURS, values.tolist(), (6, 12))
    splits = [lengths for lengths in product(range(6, 13), repeat=4) if sum(lengths) == 36]
    all_differences = np.array([difference(values, lengths) for lengths in splits])
    observed = difference(values, (9, 8, 10, 9))

    analysis = analysed(extract, direction="increase")

    assert observe(extract).days.switched == (9, 27)
    assert analysis.numbers["observed"] == pytest.approx(observed)
    assert analysis.numbers["assignments"] == len(splits)
    assert analysis.numbers["p"] == (all_differences >= observed - 1e-9).mean()
    means = [phase["mean of days"] for phase in analysis.results["phases"]]  # type: ignore[index, union-attr, call-overload]
    assert observed == pytest.approx((means[1] + means[3] - means[0] - means[2]) / 2), "what the table of phases shows"
    assert "left out, under each assignment its own" in analysis.methods


@pytest.mark.parametrize("repetitions", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_with_switches_within_a_day_the_level_is_kept_from_events_to_p(repetitions: int) -> None:
    generator = np.random.default_rng(21)
    parameters = AbabParameters(direction="decrease")
    rejected = 0
    for lengths in DRAWN.draw(generator, repetitions):
        values = series(generator) + np.arange(144) / 8
        extract = switching(lengths.tolist(), HOURS, values.tolist(), (6, 12))
        case = read_scheme(observe(extract), parameters).case
        assert case is not None
        rejected += randomization_test([case], direction="decrease").p <= parameters.alpha

    nominal = np.floor(parameters.alpha * DRAWN.count) / DRAWN.count
    print(f"calibration, from events: {rejected / repetitions:.4f} of {repetitions}, nominal {nominal:.4f}")  # noqa: T201
    assert abs(rejected / repetitions - nominal) <= 3 * np.sqrt(nominal * (1 - nominal) / repetitions)


def test_two_phases_have_as_many_assignments_as_start_points() -> None:
    values = np.random.default_rng(2).normal(size=120) + 2 * np.repeat([0, 1], 60)
    extract = switching((15, 15), (0, 0), values.tolist(), (5, 25))
    extract = extract.model_copy(update={"protocol": extract.protocol.model_copy(update={"design": "AB"})})
    days = values.reshape(-1, 4).mean(axis=1)
    all_differences = np.array([days[start:].mean() - days[:start].mean() for start in range(5, 26)])

    analysis = analysed(extract, direction="increase")

    assert (analysis.verdict, analysis.numbers["assignments"]) == ("no verdict", 21)
    assert analysis.sentence.startswith("No verdict: the design AB is none of ABAB, ")
    assert analysis.numbers["observed"] == pytest.approx(all_differences[10])
    assert analysis.numbers["p"] == (all_differences >= all_differences[10] - 1e-9).mean()
    assert analysis.results["appraisal"]["rating"] == "does not meet"  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("scheme", "admitted"),
    [
        (PAIRS, lambda order: all(order[at : at + 2].sum() == 1 for at in range(0, 12, 2))),
        ({"scheme": "days", "treatedDays": 6}, lambda _: True),
        (
            {"scheme": "days", "treatedDays": 6, "maxRunDays": 2},
            lambda order: all(0 < order[at : at + 3].sum() < 3 for at in range(10)),
        ),
    ],
    ids=["pairs", "any order", "short runs"],
)
def test_alternating_days_are_tested_against_every_order_of_their_scheme(scheme: dict[str, Any], admitted: Any) -> None:
    treated = np.array([letter == "T" for letter in ORDER])
    values = np.random.default_rng(4).normal(size=12) + 1.5 * treated
    orders = [np.isin(np.arange(12), days) for days in combinations(range(12), 6)]
    all_differences = np.array(
        [values[order].mean() - values[~order].mean() for order in orders if admitted(order.astype(int))]
    )
    observed = values[treated].mean() - values[~treated].mean()

    analysis = analysed(alternating(ORDER, values.tolist(), scheme), direction="increase")

    assert analysis.numbers["observed"] == pytest.approx(observed)
    assert analysis.numbers["mean_difference"] == pytest.approx(observed)
    assert analysis.numbers["assignments"] == all_differences.size
    assert analysis.numbers["p"] == (all_differences >= observed - 1e-9).mean()
    assert analysis.results["test"]["statistic"].startswith("mean of the treatment days")  # type: ignore[index, union-attr, call-overload]
    assert "every order of treatment and baseline days" in analysis.methods
    assert analysis.results["appraisal"]["rating"] == "meets"  # type: ignore[index, call-overload]


def test_an_order_that_its_scheme_does_not_admit_is_described() -> None:
    analysis = analysed(alternating("TTBBTBBTTBBT", list(np.arange(12.0)), PAIRS), direction="increase")

    assert analysis.verdict == "no verdict"
    assert "could not have been drawn. Descriptively, treatment days differed" in analysis.sentence


@pytest.mark.parametrize(
    "recorded",
    [{}, {"minDays": 1, "maxDays": 3}, {"scheme": "coin", "treatedDays": 6}, {"scheme": "days", "treatedDays": "6"}],
)
def test_an_alternation_without_its_scheme_gets_no_verdict(recorded: dict[str, Any]) -> None:
    analysis = analysed(alternating(ORDER, list(np.arange(12.0)), recorded))

    assert analysis.verdict == "no verdict"
    assert "ALTERNATING has no randomization test without its scheme: record it in" in analysis.sentence
    assert "Descriptively, the mean difference is " in analysis.sentence


def test_a_scheme_that_not_all_phases_record_is_none() -> None:
    extract = alternating(ORDER, list(np.arange(12.0)), PAIRS)

    analysis = analysed(changed(extract, 3, parameters={"randomization": {**PAIRS, "blockDays": 4}}))

    assert "without its scheme" in analysis.sentence
    assert f"it is missing or another in {extract.phases[3].label}." in analysis.sentence


def test_a_scheme_with_7_0_is_one_with_7() -> None:
    values = np.random.default_rng(4).normal(size=12).tolist()
    decimal = {name: float(days) if name != "scheme" else days for name, days in PAIRS.items()}  # type: ignore[arg-type]

    whole, point = (analysed(alternating(ORDER, values, scheme)) for scheme in (PAIRS, decimal))

    assert whole.results == point.results
    mixed = changed(alternating(ORDER, values, PAIRS), 3, parameters={"randomization": decimal})
    assert analysed(mixed).results == whole.results


def test_an_alternation_that_switched_within_a_day_gets_no_verdict() -> None:
    extract = alternating(ORDER, [1.0, 9, 9, 1, 9, 1, 1, 9, 9, 1, 1, 9], PAIRS)
    late = changed(extract, 3, starts_us=ORIGIN + 4 * DAY_US + DAY_US // 2)

    analysis = analysed(late, direction="increase")

    assert analysed(extract, direction="increase").verdict == "benefit"
    assert analysis.sentence.startswith(
        "No verdict: not a randomisation test, for the condition changed within days, and whole days were drawn. Desc"
    )


def test_an_alternation_that_was_not_kept_is_tested_as_drawn() -> None:
    values = [1.0, 9, 9, 1, 9, 1, 1, 9, 9, 1, 1, 9]
    extract = alternating(ORDER, values, PAIRS)
    late = changed(extract, 4, starts_us=extract.phases[4].starts_us + DAY_US)

    kept, drawn = (analysed(each, direction="increase") for each in (extract, late))

    assert drawn.numbers["p"] == kept.numbers["p"]
    assert drawn.verdict == kept.verdict == "benefit"
    assert "the days are compared as they were drawn, though not all were kept so" in drawn.sentence
    assert "as they were drawn" not in kept.sentence


THREE = {"scheme": "days", "daysOf": {"BASELINE": 1, "INTERVENTION_A": 1, "INTERVENTION_B": 1}, "blockDays": 3}


def test_phases_before_and_after_the_days_that_alternate_are_held() -> None:
    order, pairs = "ABBAABBABAABABAB", {"scheme": "days", "treatedDays": 1, "blockDays": 2}
    values = np.arange(27.0)
    scheme = read_scheme(observe(alternating_part("BBBBBB", order, "AAAAA", values.tolist(), pairs)), AbabParameters())
    alone = read_scheme(observe(alternating_part("", order, "", values[6:22].tolist(), pairs)), AbabParameters())

    assert scheme.schedule is not None
    assert alone.schedule is not None
    assert scheme.schedule.count == alone.schedule.count == 2**8
    assert scheme.observed == (0,) * 6 + alone.observed + (0,) * 5
    assert scheme.case is not None
    assert alone.case is not None
    assert scheme.case.contrast() == alone.case.contrast()
    assert scheme.drawn
    held = observe(alternating_part("BBBBBB", order, "AAAAA", values.tolist(), pairs))
    methods = methods_of(held, AbabParameters(), scheme, declared_improvement(held.extract, "increase", "either"))
    assert "16 days of baseline and treatment in a drawn order, after 6 days of baseline, before 5 days of" in methods


@pytest.mark.parametrize("longest", [9, 2])
def test_pairs_of_three_conditions_are_compared_on_the_days_of_the_two(longest: int) -> None:
    """The set of a pair holds the orders of all three that agree with the observed one on the days of the third."""
    observed, sides = "BACCABBCAACB", {"INTERVENTION_A": "A", "INTERVENTION_B": "C", "BASELINE": "B"}
    orders = ["".join(order) for order in product(*[["".join(block) for block in permutations("BAC")]] * 4)]
    orders = [order for order in orders if max(len(list(days)) for _, days in groupby(order)) <= longest]
    extract = alternating_part("", observed, "", [*range(12)], {**THREE, "maxRunDays": longest})
    for contrast in contrasts_of(BOTH):
        scheme = read_scheme(observe(extract), AbabParameters(contrasts=BOTH), contrast)
        third = ({*"BAC"} - {sides[contrast.first], sides[contrast.second]}).pop()
        agreeing = {order for order in orders
                    if [day == third for day in order] == [day == third for day in observed]}  # fmt: skip
        assert scheme.schedule is not None
        assert scheme.schedule.count == len(agreeing)
        assert scheme.admissible is (observed in orders)


BOTH = "INTERVENTION_A-BASELINE, INTERVENTION_B-BASELINE, INTERVENTION_B-INTERVENTION_A"


@pytest.mark.parametrize(
    ("order", "scheme", "problem"),
    [
        ("BACCAB", {"scheme": "days", "treatedDays": 1, "blockDays": 3}, "has to say the days of each condition"),
        ("BACBAC", {**THREE, "blockDays": 2}, "the days of the conditions, 3, are not the 2 days of a block"),
        ("BACBA", THREE, "5 days are not a whole number of blocks of 3"),
        ("BACBBA", THREE, "block 2 has 0 days of INTERVENTION_B, and 1 belong into it"),
        ("BACBAC", {**THREE, "daysOf": {"BASELINE": 1, "INTERVENTION_A": 2}}, "has no days of INTERVENTION_B"),
        ("BACCAB", {**THREE, "maxRunDays": 1}, "2 days of INTERVENTION_B in a row are more than the 1 that"),
        ("BACBAC", {**THREE, "daysOf": {"BASELINE": "1"}}, "it is missing or another in"),
    ],
)
def test_a_scheme_that_does_not_fit_is_refused_by_name(order: str, scheme: dict[str, object], problem: str) -> None:
    extract = alternating_part("", order, "", [*range(len(order))], scheme)
    read = read_scheme(observe(extract), AbabParameters(contrasts=BOTH))

    assert read.case is None
    assert problem in str(read.problem)
