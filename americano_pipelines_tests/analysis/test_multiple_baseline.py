"""A group as a multiple baseline: its scheme, its verdict, what forbids one, and its days computed again."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.day_values import day_values
from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.analysis.group_extract import GroupExtract
from americano_pipelines.analysis.multiple_baseline_scheme import read_joint_scheme
from americano_pipelines.analysis.parameters import MultipleBaselineParameters
from americano_pipelines.analysis.registry import KINDS, Basis
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.statistics.between_case_effect import between_case_effect
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.recompute import recompute
from americano_pipelines_tests.analysis.examples import LATER, ORIGIN, changed, planned

_WINDOWS = {"scheme": "cases", "baselineDays": [[6, 9], [12, 15], [18, 21]]}
_FIXED = {"scheme": "cases", "baselineDays": [7, 13, 19]}
_STAGGERED = {"minDays": 6, "maxDays": 24, "staggerDays": 4}
INDEPENDENT = {"minDays": 6, "maxDays": 24}
_KIND = KINDS["multiple_baseline"]


def _member(place: int, start: int, drawing: object, *, effect: float, **protocol: Any) -> Extract:
    """A case of 30 days, two of them without a value."""
    generator = np.random.default_rng(place)
    values = 60 + 4 * generator.standard_normal(30)
    values[start:] += effect
    values[generator.choice(30, 2, replace=False)] = np.nan
    present = np.flatnonzero(~np.isnan(values))
    parameters = {
        "analysis": {"type": "MULTIPLE_BASELINE", "group": "g", "improvement": "increase"},
        "randomization": drawing,
    }
    described = {"design": "MULTIPLE_BASELINE", "name": f"Case {place}"} | protocol
    return Extract(
        outcome="score",
        protocol=Protocol(
            protocol_id=f"p{place}",
            learner=f"learner-{place}",
            primary_outcome="score",
            starts_us=ORIGIN,
            ends_us=None,
            plan=None,
            deviations=[],
            **described,
        ),
        phases=[
            Phase(
                phase_id=f"{place}{label}",
                label=label,
                type=kind,
                starts_us=ORIGIN + first * DAY_US,
                ends_us=None,
                planned_days=days,
                parameters=parameters,
                seed=1,
            )
            for label, kind, first, days in (
                ("baseline", "BASELINE", 0, start),
                ("treatment", "INTERVENTION_A", start, 30 - start),
            )
        ],
        times_us=[ORIGIN + int(day) * DAY_US + DAY_US // 2 for day in present],
        values=[float(values[day]) for day in present],
        labels=[None] * present.size,
    )


def group(
    drawing: object, starts: tuple[int, ...] = (13, 7, 19), *, effect: float = 8, **protocol: Any
) -> GroupExtract:
    members = [_member(place, start, drawing, effect=effect, **protocol) for place, start in enumerate(starts)]
    return GroupExtract(
        group="g", outcome="score", learners=[member.protocol.learner for member in members], protocols=members
    )


def _analysis(extract: GroupExtract, *, as_of_us: int = LATER, **parameters: Any) -> Analysis:
    return _KIND.analyse(extract, MultipleBaselineParameters(**parameters), Basis("snapshot", as_of_us, "planned"))


@pytest.mark.parametrize(
    ("drawing", "assignments", "words"),
    [
        (_WINDOWS, 384, "permuted over windows, with a start drawn within each"),
        (_FIXED, 6, "permuted over fixed start points"),
        (_STAGGERED, 1716, "within its own bounds, any two at least 4 days apart"),
        (INDEPENDENT, 6859, "within its own bounds independently"),
    ],
)
def test_each_recorded_drawing_is_tested_and_its_days_give_the_same_again(
    drawing: dict[str, object], assignments: int, words: str
) -> None:
    extract = group(drawing)
    assert GroupExtract.parse(extract.canonical()) == extract

    analysis = _analysis(extract)

    assert analysis.numbers["assignments"] == assignments
    assert words in analysis.methods
    if assignments > 6:
        assert analysis.verdict == "benefit"
        assert "averaged over 3 cases" in analysis.sentence
        assert set(analysis.pictures) == {"phases.png", "distribution.png"}
    else:
        assert analysis.verdict == "no verdict"
        assert "more cases or wider windows" in analysis.sentence
    document = json.loads(day_values(extract, MultipleBaselineParameters()) or b"")
    parts, missing = recompute("multiple_baseline", document)
    assert not missing
    for name in ("test", "missing days"):
        assert parts[name] == {key: analysis.results[name][key] for key in parts[name]}
    assert [row["days with a value"] for row in parts["phases"]] == [
        row["days with a value"] for row in analysis.results["phases"]
    ]


def test_without_an_effect_none_is_shown() -> None:
    assert _analysis(group(INDEPENDENT, effect=0)).verdict == "not shown"
    assert _analysis(group(INDEPENDENT), direction="decrease").verdict == "not shown"


@pytest.mark.parametrize(
    ("extract", "why"),
    [
        (group(INDEPENDENT, (13,)), "has at least 2 cases, and this group has 1"),
        (group(INDEPENDENT, design="ABAB"), "the design of Case 0 is ABAB, not MULTIPLE_BASELINE"),
        (group(None), "no drawing is recorded of Case 0"),
        (group({"scheme": "cases", "baselineDays": ["x"]}), "the recorded drawing is not understood"),
        (group({"minDays": 6, "maxDays": 10}), "within the recorded bounds make 30 days"),
        (group(_STAGGERED, (13, 12, 19)), "baselines of 13, 12, 19 days could not have been drawn"),
        (group(_WINDOWS, (13, 14, 19)), "baselines of 13, 14, 19 days could not have been drawn"),
    ],
)
def test_what_was_not_drawn_gets_no_verdict(extract: GroupExtract, why: str) -> None:
    analysis = _analysis(extract)

    assert analysis.verdict == "no verdict"
    assert why in analysis.sentence


def test_different_drawings_and_a_plan_that_is_not_over_get_no_verdict() -> None:
    mixed = group(_WINDOWS)
    other = group(_FIXED).protocols[1]
    mixed = mixed.model_copy(update={"protocols": [mixed.protocols[0], other, mixed.protocols[2]]})
    assert "record different schemes" in str(read_joint_scheme([observe(each) for each in mixed.protocols]).problem)
    early = _analysis(group(INDEPENDENT), as_of_us=ORIGIN + 20 * DAY_US)
    assert early.verdict == "no verdict"
    assert "the plan is not over" in early.sentence


def test_cases_of_one_name_are_named_by_their_ids() -> None:
    results = _analysis(group(INDEPENDENT, name="Spelling")).results

    names = ["Spelling (p0)", "Spelling (p1)", "Spelling (p2)"]
    assert list(results["days"]) == names
    assert [case["case"] for case in results["test"]["cases"]] == names


def test_cases_with_different_better_ways_get_neither_benefit_nor_harm() -> None:
    extract = group(INDEPENDENT)
    lower = extract.protocols[1].model_copy(deep=True)
    for phase in lower.phases:
        phase.parameters["analysis"]["improvement"] = "decrease"
    extract = extract.model_copy(update={"protocols": [extract.protocols[0], lower, extract.protocols[2]]})

    analysis = _analysis(extract)

    assert analysis.verdict == "differs, higher under treatment"
    assert "the cases declare different ways to be better" in analysis.sentence


def test_the_appraisal_counts_starts_after_different_baselines() -> None:
    three, two = _analysis(group(INDEPENDENT)), _analysis(group(INDEPENDENT, (13, 7, 13)))

    assert three.results["appraisal"]["rating"] == "meets"
    assert "The design" not in three.sentence
    assert two.results["appraisal"]["points"][0]["found"].startswith("2 switches between baseline and treatment after")
    assert "The design does not meet the standards: 2 switches between baseline and treatment after" in two.sentence
    alone = _analysis(group(INDEPENDENT, (13,)))
    assert "The design does not meet the standards: 1 switch between" in alone.sentence, "also without a test"


def test_each_number_of_an_effect_has_its_formula() -> None:
    analysis = _analysis(group(INDEPENDENT))

    named = {formula["number"] for formula in analysis.results["formulas"]}
    assert {"observed", "mean_difference", "smd_pooled.se", "overlap.nap", "visual analysis, level"} <= named
    cases = ["Case 0", "Case 1", "Case 2"]
    level, overlap = (analysis.results["visual analysis"][feature] for feature in ("level", "overlap"))
    assert [row["case"] for row in level] == [case for case in cases for _ in ("baseline", "treatment")]
    assert [row["NAP"] for row in overlap] == [case["overlap"]["nap"] for case in analysis.results["effects"]["cases"]]


def test_missing_days_of_treatment_forbid_a_verdict() -> None:
    """The lowest of 100 treatment days have no value, and nothing has an effect."""
    rejections = 0
    for seed in range(20):
        extract = group(INDEPENDENT, effect=0)
        members = []
        for place, member in enumerate(extract.protocols):
            values = 60 + 4 * np.random.default_rng((seed, place)).standard_normal(len(member.values))
            start = member.phases[1].starts_us
            treated = [index for index, time in enumerate(member.times_us) if time >= start]
            lowest = set(sorted(treated, key=lambda index: values[index])[: round(0.4 * len(treated))])
            kept = [index for index in range(len(values)) if index not in lowest]
            update = {"times_us": [member.times_us[index] for index in kept], "labels": [None] * len(kept)}
            members.append(member.model_copy(update=update | {"values": [float(values[index]) for index in kept]}))
        analysis = _analysis(extract.model_copy(update={"protocols": members}))
        rejections += analysis.numbers["p"] <= 0.05
        assert analysis.verdict in {"no verdict", "not shown"}, analysis.sentence
    assert rejections >= 3, "the test alone finds what is not there"


def _with_days(extract: GroupExtract, change: Callable[[int, np.ndarray, np.ndarray], np.ndarray]) -> GroupExtract:
    """The same with other outcomes, of each case from its place, the days with a value and their outcomes."""
    members = []
    for place, member in enumerate(extract.protocols):
        days = (np.array(member.times_us) - ORIGIN) // DAY_US
        members.append(member.model_copy(update={"values": change(place, days, np.array(member.values)).tolist()}))
    return extract.model_copy(update={"protocols": members})


def test_a_trend_in_all_cases_is_said_with_the_part_that_it_makes() -> None:
    def rising(place: int, days: np.ndarray, _: np.ndarray) -> np.ndarray:
        noise: np.ndarray = np.random.default_rng((place, 3)).normal(size=days.size)
        return noise + 0.5 * days

    extract = _with_days(group(INDEPENDENT), rising)

    analysis = _analysis(extract)

    trend = analysis.results["dependence"]["trend within phases"]
    assert analysis.verdict == "not shown", "each case rises whenever it starts"
    assert trend["slope"] == pytest.approx(0.5, abs=0.03)
    # Treatment days are 15 days later than baseline days, whenever treatment starts.
    assert trend["part of the difference"] == pytest.approx(15 * trend["slope"], rel=0.03)
    said = f"within phases the outcome rises by {trend['slope']:.3f} a day, which makes "
    assert f"{said}{trend['part of the difference']:+.2f} of this difference" in analysis.sentence
    why = "the outcome has a trend within phases, and the model of this effect has none"
    assert analysis.results["effects"]["between cases"] == {"why there is none": why}
    level = _analysis(_with_days(extract, lambda _, days, values: values - 0.5 * days))
    assert "a day, which makes" not in level.sentence
    after = _with_days(extract, lambda place, days, values: values - 0.5 * np.minimum(days, (13, 7, 19)[place]))
    assert "a day, which makes" not in _analysis(after).sentence, "an effect that grows is no trend"


def test_the_effect_between_learners_is_given_where_it_is_defined() -> None:
    rises = _analysis(group(INDEPENDENT))
    lower = _with_days(group(INDEPENDENT, improvement="decrease"), lambda _, __, values: -values)
    falls = _analysis(lower.model_copy(update={"protocols": [planned(member) for member in lower.protocols]}))

    effect = rises.results["effects"]["between cases"]
    cases = [observe(member) for member in group(INDEPENDENT).protocols]
    computed = between_case_effect([case.days.values for case in cases], [case.days.phase == 1 for case in cases])
    assert effect["value"] == pytest.approx(computed.value)
    assert effect["value"] > 1
    assert falls.results["effects"]["between cases"]["value"] == pytest.approx(effect["value"])
    assert "between cases, value" in {formula["number"] for formula in rises.results["formulas"]}
    two = _analysis(group(INDEPENDENT, (13, 7)))
    assert two.results["effects"]["between cases"] == {"why there is none": "it takes 3 cases, and there are 2"}
    assert "between cases, value" not in {formula["number"] for formula in two.results["formulas"]}
    not_drawn = _analysis(group(None))
    assert not_drawn.verdict == "no verdict"
    assert not_drawn.results["effects"]["between cases"] == effect, "a description needs no drawing"
    assert not_drawn.results["dependence"]["trend within phases"]["part of the difference"] is None
    untreated = _analysis(group(INDEPENDENT, (13,)))
    assert "at least 2 cases" in untreated.results["effects"]["between cases"]["why there is none"]
    alone = group(INDEPENDENT)
    same = [member.protocol.model_copy(update={"learner": "learner-0"}) for member in alone.protocols]
    members = [
        member.model_copy(update={"protocol": protocol}) for member, protocol in zip(alone.protocols, same, strict=True)
    ]
    of_one = _analysis(alone.model_copy(update={"protocols": members}))
    why = "cases of one learner do not differ as learners do, and 3 cases have 1"
    assert of_one.results["effects"]["between cases"] == {"why there is none": why}


def test_a_phase_a_day_over_is_compared_as_drawn_and_said() -> None:
    extract = group(INDEPENDENT)
    late = changed(extract.protocols[0], 1, starts_us=ORIGIN + 14 * DAY_US)

    analysis = _analysis(extract.model_copy(update={"protocols": [late, *extract.protocols[1:]]}))

    assert analysis.numbers == {**_analysis(extract).numbers} | {
        name: analysis.numbers[name] for name in ("mean_difference", "nap")
    }
    assert (
        "Case 0: the days are compared as they were drawn (phases of 13, 17 days), though the phases had 14"
        in analysis.sentence
    )


def test_small_outcomes_another_level_and_cases_without_treatment() -> None:
    small = _analysis(_with_days(group(INDEPENDENT), lambda _, __, values: values / 10_000), alpha=0.01)
    assert "level .01" in small.sentence
    assert "two-sided 99% interval" in small.sentence
    observed = small.numbers["observed"]
    assert observed is not None
    assert f"differed from baseline days by {observed:+.5f}" in small.sentence
    extract = group(INDEPENDENT)
    untreated = changed(extract.protocols[2], 1, type="BASELINE")
    none = _analysis(extract.model_copy(update={"protocols": [*extract.protocols[:2], untreated]}))
    assert none.verdict == "no verdict"
    assert "each case of a multiple baseline has a baseline and then a treatment, and Case 2 has" in none.sentence


def test_benefit_says_so_only_where_the_interval_leaves_out_zero() -> None:
    for seed in range(12):
        extract = _with_days(
            group(_WINDOWS),
            lambda place, days, _, seed=seed: (
                np.random.default_rng((seed, place)).normal(size=days.size) + 0.8 * (days >= (13, 7, 19)[place])
            ),
        )
        numbers = _analysis(extract).numbers
        low, high, p = numbers["interval_low"], numbers["interval_high"], numbers["p"]
        assert p is not None
        inside = (low is None or low <= 0) and (high is None or high >= 0)
        assert inside is (p > 0.05), seed


def test_cases_that_differ_the_other_way_are_named_with_their_differences() -> None:
    def change(place: int, days: np.ndarray, values: np.ndarray) -> np.ndarray:
        changed_values: np.ndarray = values - 12 * (days >= 19) if place == 2 else values
        return changed_values

    mixed = _analysis(_with_days(group(INDEPENDENT, effect=12), change))
    falls = _analysis(_with_days(group(INDEPENDENT), lambda place, _, values: values if place == 2 else -values))

    difference = mixed.results["test"]["cases"][2]["difference"]
    assert difference < 0 < mixed.numbers["observed"]
    assert f"averaged over 3 cases, of which these differ the other way: Case 2 {difference:+.2f};" in mixed.sentence
    assert falls.numbers["observed"] < 0
    assert "differ the other way: Case 2 +" in falls.sentence
    assert "averaged over 3 cases;" in _analysis(group(INDEPENDENT)).sentence
