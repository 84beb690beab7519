"""The combined analysis: what counts, what it gives, and its plan."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from americano_pipelines.analysis.combined_extract import CombinedExtract, RecordedTest
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.parameters import AbabParameters, CombinedParameters
from americano_pipelines.analysis.preregistration import planned_of, resolve
from americano_pipelines.analysis.registry import KINDS, Basis
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.demo.data.protocols import PROTOCOLS, DemoProtocol
from americano_pipelines.provenance.crate.verify_standalone import Report, check_combined
from americano_pipelines.statistics.combined_p import edgington, stouffer
from americano_pipelines.statistics.random_effects import random_effects
from americano_pipelines_tests.analysis.examples import LATER, changed, extract_of, planned, switching

_KIND = KINDS["combined"]


def _member(protocol: DemoProtocol) -> Extract:
    """A protocol of the group, without its events, each of another learner."""
    extract = planned(extract_of(protocol), improvement="increase", group="study")
    stated = extract.protocol.model_copy(update={"learner": f"learner of {protocol.name}"})
    return extract.model_copy(update={"protocol": stated, "times_us": [], "values": [], "labels": []})


_MEMBERS = [_member(protocol) for protocol in PROTOCOLS[:4]]


def recorded_test(place: int, p_higher: float, p_lower: float, **others: Any) -> RecordedTest:
    values = {"standing": "planned", "kind": "randomisation test", "better": "increase", "p": 0.1}
    values |= {
        "verdict": "benefit",
        "why": "p = .1",
        "interventions": ["INTERVENTION_A"],
        "shares_differ": False,
    } | others
    return RecordedTest(
        protocol_id=_MEMBERS[place].protocol.protocol_id,
        sha256=f"{place}" * 64,
        observed=1.0,
        p_higher=p_higher,
        p_lower=p_lower,
        effects=[1.0, 0.5 + place],
        errors=[0.3, 0.4],
        **values,
    )


def combined_extract(*tests: RecordedTest, members: Sequence[Extract] = _MEMBERS) -> CombinedExtract:
    return CombinedExtract(
        group="study", outcome="sessionPerformanceScore", learners=["x"], protocols=list(members), tests=list(tests)
    )


def combined_analysis(*tests: RecordedTest, members: Sequence[Extract] = _MEMBERS, **parameters: Any) -> Analysis:
    extract = combined_extract(*tests, members=members)
    assert CombinedExtract.parse(extract.canonical()) == extract
    return _KIND.analyse(extract, CombinedParameters(**parameters), Basis("snapshot", 0, "planned"))


def test_p_and_mean_effect_are_those_of_the_tests_that_count() -> None:
    tests = [recorded_test(0, 0.02, 0.99), recorded_test(1, 0.97, 0.04, better="decrease"), recorded_test(2, 0.2, 0.85)]

    analysis = combined_analysis(*tests)

    towards_better, other_way = [0.02, 0.04, 0.2], [0.99, 0.97, 0.85]
    combined = analysis.results["combined p"]
    for name, combine in (("edgington", edgington), ("stouffer", stouffer)):
        assert combined[name]["p_benefit"] == pytest.approx(combine(towards_better))
        assert combined[name]["p_harm"] == pytest.approx(combine(other_way))
    assert analysis.numbers["p"] == pytest.approx(2 * edgington(towards_better))
    mean = random_effects([0.75, 1.25, 1.75], [0.25] * 3)
    assert mean is not None
    assert analysis.numbers["observed"] == pytest.approx(mean.mean)
    assert analysis.verdict == "benefit"
    assert analysis.sentence.startswith("Benefit: the planned tests of 3 of 4 experiments give p = .006 (two-sided, ")
    assert set(analysis.pictures) == {"forest.png"}
    by_stouffer = combined_analysis(*tests, method="stouffer")
    assert by_stouffer.numbers["p"] == pytest.approx(2 * stouffer(towards_better))


def test_what_is_not_planned_or_not_tested_is_listed_and_not_counted() -> None:
    analysis = combined_analysis(
        recorded_test(0, 0.01, 0.99),
        recorded_test(1, 0.01, 0.99, standing="exploratory"),
        recorded_test(2, 0.01, 0.99, kind="not a randomisation test"),
    )

    assert analysis.verdict == "no verdict"
    assert "1 of 4 experiments have a planned randomization test that counts" in analysis.sentence
    assert [row["why"] for row in analysis.results["left out"]] == [
        "it is exploratory, not planned",
        "it made no randomization test",
        "no randomization test of sessionPerformanceScore is recorded",
    ]
    undeclared = combined_analysis(
        recorded_test(0, 0.01, 0.99), recorded_test(1, 0.01, 0.99, better=None), recorded_test(2, 0.5, 0.5)
    )
    assert {"which way is better was not declared"} <= {row["why"] for row in undeclared.results["left out"]}
    assert undeclared.numbers["experiments"] == 2


def test_declared_tests_count_where_the_plan_includes_them() -> None:
    tests = [
        recorded_test(0, 0.02, 0.99),
        recorded_test(1, 0.04, 0.97, standing="declared"),
        recorded_test(2, 0.2, 0.85),
    ]

    by_default = combined_analysis(*tests)
    included = combined_analysis(*tests, include="declared")

    assert by_default.numbers["p"] == pytest.approx(2 * edgington([0.02, 0.2]))
    assert "the planned tests of 2 of 4 experiments" in by_default.sentence
    assert "it is declared, not planned" in {row["why"] for row in by_default.results["left out"]}
    assert included.numbers["p"] == pytest.approx(2 * edgington([0.02, 0.04, 0.2]))
    assert "the planned and declared tests of 3 of 4 experiments" in included.sentence
    assert "planned and declared randomization tests of 3 experiments" in str(included.methods)
    extract = planned(_MEMBERS[0], group="study", include="declared", improvement="increase")
    assert resolve(_KIND, {}, extract).model_dump()["include"] == "declared"
    assert planned_of(KINDS["abab_randomization"], extract) == {"improvement": "increase"}


@pytest.mark.parametrize(
    ("config", "row", "fault"),
    [
        ({}, {}, False),
        ({"include": "planned"}, {}, True),
        ({}, {"standing": "exploratory"}, True),
        ({}, {"p_benefit": 0.01}, True),
        ({}, {"effect": 2.0}, True),
    ],
)
def test_a_crate_tells_which_tests_do_not_count(config: dict[str, Any], row: dict[str, Any], fault: bool) -> None:  # noqa: FBT001
    analysis = combined_analysis(
        recorded_test(0, 0.02, 0.99), recorded_test(1, 0.04, 0.97, standing="declared"), include="declared"
    )
    metrics = {name: [[0, value]] for name, value in analysis.numbers.items()}
    record = json.loads(
        json.dumps({"results": analysis.results, "verdict": analysis.verdict, "logged": {"metrics": metrics}})
    )
    record |= {
        "identity": {"analysis_version": analysis.version},
        "sentence": analysis.sentence,
        "config": CombinedParameters(include="declared").recorded() | config,
    }
    record["results"]["experiments"][1] |= row
    report = Report()

    report.check("the combination", check_combined, record)

    assert bool(report.faults) is fault, report.lines


def test_a_test_without_verdict_counts_only_for_too_few_assignments() -> None:
    refused = recorded_test(1, 0.01, 0.99, verdict="no verdict", why="time between phases belongs to none of them")
    few = recorded_test(2, 0.1, 0.9, verdict="no verdict", why="too few assignments")

    analysis = combined_analysis(recorded_test(0, 0.02, 0.99), refused, few)

    assert analysis.numbers["p"] == pytest.approx(2 * edgington([0.02, 0.1]))
    assert "it gave no verdict: time between phases belongs to none of them" in {
        row["why"] for row in analysis.results["left out"]
    }


@pytest.mark.parametrize(
    ("design", "verdict", "why"),
    [
        ("CHANGING_CRITERION", "benefit", "it tests a distance from criteria, of which no side is better"),
        ("ABAB", "no verdict", "it gave no verdict: not a randomisation test, for the planned days are not recorded"),
    ],
)
def test_a_recorded_test_whose_p_has_no_side_or_no_drawing_does_not_count(design: str, verdict: str, why: str) -> None:
    """Of a criterion that is followed the distance is small, which is no decrease of the outcome."""
    lengths = (13, 15, 13, 15)
    days = np.random.default_rng(7).normal(size=56) + np.repeat([0, 2, 4, 6], lengths)
    extract = switching(lengths, (0, 0, 0, 0), np.repeat(days, 4).tolist(), (7, 21))
    extract = extract.model_copy(update={"protocol": extract.protocol.model_copy(update={"design": design})})
    if design == "CHANGING_CRITERION":
        for place in (1, 2, 3):
            parameters = {**(extract.phases[place].parameters or {}), "criterion": 2 * place}
            extract = changed(extract, place, parameters=parameters, type="INTERVENTION_A")
    else:
        extract = changed(extract, 1, planned_days=None)
    analysis = KINDS["abab_randomization"].analyse(
        extract, AbabParameters(direction="increase", improvement="increase"), Basis("snapshot", LATER, "planned")
    )
    assert (analysis.verdict, analysis.results["test"]["kind"]) == (verdict, "randomisation test")
    record = {"results": analysis.results, "verdict": analysis.verdict, "standing": {"label": "planned"}}
    group = CombinedExtract(group="study", outcome="score", learners=["x"], protocols=[extract], tests=[])
    other = {**record, "config": {"outcome": "minutes"}}

    (test,) = group.with_records(
        lambda _: [("0" * 64, record | {"config": {"outcome": "score"}}), ("1" * 64, other)]
    ).tests

    assert str(test.exclusion("planned")).startswith(why)


def test_harm_is_what_goes_against_what_is_better() -> None:
    worse = [recorded_test(0, 0.99, 0.01), recorded_test(1, 0.98, 0.02)]
    analysis = combined_analysis(
        *(test.model_copy(update={"effects": [-1.0, -effect]}) for test, effect in zip(worse, (0.5, 0.6), strict=True))
    )

    assert analysis.verdict == "harm"
    assert combined_analysis(recorded_test(0, 0.3, 0.7), recorded_test(1, 0.4, 0.6)).verdict == "not shown"


def test_the_plan_of_a_protocol_with_a_group_plans_the_combination() -> None:
    extract = planned(_MEMBERS[0], group="study", combination="stouffer", alpha=0.01, improvement="increase")
    abab = KINDS["abab_randomization"]

    assert planned_of(_KIND, extract) == {"method": "stouffer", "alpha": 0.01}
    assert planned_of(abab, extract) == {"alpha": 0.01, "improvement": "increase"}
    assert resolve(abab, {}, extract).model_dump()["alpha"] == 0.01
    assert planned_of(_KIND, planned(_MEMBERS[0])) is None
    joint = planned(_MEMBERS[0], type="MULTIPLE_BASELINE", group="study")
    assert planned_of(_KIND, joint) is None
    assert planned_of(KINDS["multiple_baseline"], joint) == {}


def test_unequal_missing_days_and_different_treatments_are_left_out() -> None:
    unequal = recorded_test(1, 0.6, 0.4, verdict="not shown", why="p = .6", shares_differ=True)
    analysis = combined_analysis(recorded_test(0, 0.02, 0.99), unequal, recorded_test(2, 0.2, 0.85))
    assert len(analysis.results["experiments"]) == 2  # type: ignore[arg-type]
    assert "unequal shares of their days" in str(analysis.results["left out"])

    other = recorded_test(1, 0.01, 0.99, interventions=["INTERVENTION_B"])
    pooled = combined_analysis(recorded_test(0, 0.01, 0.99), other, recorded_test(2, 0.01, 0.99))
    why = "INTERVENTION_A and INTERVENTION_B are different treatments, and are not pooled"
    assert pooled.sentence == f"No verdict: {why}."


def test_a_mean_effect_against_the_tests_forbids_a_verdict() -> None:
    tests = [recorded_test(place, 0.01, 0.99).model_copy(update={"effects": [-0.4]}) for place in range(3)]

    analysis = combined_analysis(*tests)

    assert analysis.verdict == "no verdict"
    assert analysis.sentence.startswith(
        "No verdict: the tests and the mean effect point opposite ways; the planned tests of 3 of 4 experiments give "
    )


def test_what_limits_the_mean_effect_is_said() -> None:
    tests = [recorded_test(0, 0.01, 0.99), recorded_test(1, 0.01, 0.99), recorded_test(2, 0.2, 0.85)]

    plain = combined_analysis(*tests)
    short = combined_analysis(*tests[:2], tests[2].model_copy(update={"effects": [], "errors": []}))

    assert plain.sentence.endswith("between experiments a standard deviation of 0.43).")
    assert "The mean effect is that of 2 of these tests: " in short.sentence
    assert f"{_MEMBERS[2].title} has no standardized difference." in short.sentence
    low, high = short.numbers["interval_low"], short.numbers["interval_high"]
    assert low is not None
    assert high is not None
    assert low < 0 < high
    assert (
        "The interval of the mean effect holds 0: p says that at least one experiment has an effect" in short.sentence
    )
    none = combined_analysis(recorded_test(0, 0.3, 0.7), recorded_test(1, 0.4, 0.6))
    assert "The interval of the mean effect holds 0" not in none.sentence


def test_ways_that_differ_and_experiments_of_one_learner_are_named() -> None:
    tests = [recorded_test(0, 0.02, 0.99), recorded_test(1, 0.97, 0.04, better="decrease"), recorded_test(2, 0.2, 0.85)]

    differ = combined_analysis(*tests)

    first, second, third = (member.title for member in _MEMBERS[:3])
    assert differ.sentence.endswith(f" Higher is better in {first}, {third}, lower in {second}.")
    again = _MEMBERS[2].protocol.model_copy(update={"learner": _MEMBERS[0].protocol.learner})
    members = [*_MEMBERS[:2], _MEMBERS[2].model_copy(update={"protocol": again}), _MEMBERS[3]]
    assert "The 3 experiments are of 2 learners; " in combined_analysis(*tests, members=members).sentence
    assert "of 2 learners" not in differ.sentence


def test_the_sentence_names_another_level() -> None:
    tests = [recorded_test(0, 0.02, 0.99), recorded_test(1, 0.04, 0.97)]

    assert "Edgington's sum of p values, level .010); " in combined_analysis(*tests, alpha=0.01).sentence
    assert ", level" not in combined_analysis(*tests).sentence
