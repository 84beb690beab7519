"""Which way is better: every place and spelling that may declare it, and what is said without or with two of them."""

import json
from typing import Any

import pytest

from americano_pipelines.analysis.abab import analyse_abab
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.declared_improvement import declared_improvement
from americano_pipelines.analysis.direction_words import normalize_direction_names, parse_direction
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.analysis.plan_compliance import PriorRuns, assess_compliance
from americano_pipelines.analysis.preregistration import resolve
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.app_database.matching import Request, resolve_request
from americano_pipelines.demo.data.protocols import PROTOCOLS
from americano_pipelines.errors import AnalysisError
from americano_pipelines_tests.analysis.examples import LATER, ONE, changed, extract_of, planned

ABAB = KINDS["abab_randomization"]
ERRORS = next(protocol for protocol in PROTOCOLS if protocol.direction == "decrease")


def analysed(extract: Extract, **overrides: Any) -> Analysis:
    parameters = resolve(ABAB, overrides, extract)
    assert isinstance(parameters, AbabParameters)
    return analyse_abab(observe(extract), parameters, as_of_us=LATER, compliance="planned")


def stated_by_protocol(extract: Extract, improvement: str) -> Extract:
    protocol = extract.protocol.model_copy(update={"improvement": improvement})
    return extract.model_copy(update={"protocol": protocol})


def test_a_decrease_that_was_declared_and_is_found_is_a_benefit() -> None:
    analysis = analysed(planned(extract_of(ERRORS), direction="decrease"))

    assert analysis.verdict == "benefit"
    assert analysis.sentence.startswith("Benefit: treatment days differed from baseline days by -")
    assert "(lower is better)" in analysis.methods
    declared = analysis.results["declared improvement"]
    assert declared["better"] == "decrease"  # type: ignore[index, call-overload]
    assert declared["declarations"] == [["parameter direction", "decrease"], ["plan, direction", "decrease"]]  # type: ignore[index, call-overload]


@pytest.mark.parametrize(("direction", "p"), [({}, "two-sided"), ({"direction": "either"}, "two-sided")])
def test_without_a_declaration_there_is_neither_benefit_nor_harm(direction: dict[str, str], p: str) -> None:
    lower, higher = (analysed(planned(extract_of(protocol), **direction)) for protocol in (ERRORS, ONE))

    assert lower.verdict == "differs, lower under treatment"
    assert higher.verdict == "differs, higher under treatment"
    assert lower.sentence.startswith("Differs, lower under treatment: treatment days differed from baseline days by -")
    assert f"{p}); " in lower.sentence
    assert "It is called neither benefit nor harm, for which way is better was not declared." in lower.sentence
    assert "sessionPerformanceScore (which way is better was not declared), was" in lower.methods
    assert lower.results["effects"]["improvement"] is None  # type: ignore[index, call-overload]
    assert "those of higher values under treatment" in lower.results["effects"]["improvement note"]  # type: ignore[index, operator, call-overload]


def test_a_way_that_is_called_better_wins_over_the_direction_of_the_test() -> None:
    analysis = analysed(planned(extract_of(ERRORS), direction="decrease", improvement="increase"))

    assert analysis.verdict == "harm"
    assert analysed(planned(extract_of(ERRORS)), direction="decrease", improvement="increase").verdict == "harm"


@pytest.mark.parametrize(
    "plan",
    [
        {"improvement": "decrease"},
        {"improvement": "lower"},
        {"better": "down"},
        {"betterDirection": "Decrease"},
        {"better_direction": "fewer"},
        {"improvementDirection": "lower is better"},
        {"directionOfImprovement": "reduction"},
        {"lowerIsBetter": True},
        {"higher_is_better": False},
        {"direction": "decrease"},
        {"direction": "lower"},
        {"expectedDirection": "fall"},
        {"alternative": "less"},
    ],
)
def test_every_spelling_of_a_plan_is_read(plan: dict[str, Any]) -> None:
    assert analysed(planned(extract_of(ERRORS), **plan)).verdict == "benefit"


@pytest.mark.parametrize("stated", ["decrease", "Lower", "lower is better"])
def test_the_protocol_may_state_it(stated: str) -> None:
    extract = planned(extract_of(ERRORS))
    beside = extract
    for index in range(4):
        beside = changed(beside, index, parameters={**beside.phases[index].parameters, "improvement": stated})

    assert analysed(stated_by_protocol(extract, stated)).verdict == "benefit"
    assert analysed(beside).verdict == "benefit"


@pytest.mark.parametrize(
    ("plan", "protocol", "overrides", "named"),
    [
        ({"improvement": "decrease"}, "increase", {}, "parameter improvement: decrease, protocol: increase"),
        ({"improvement": "decrease"}, None, {"improvement": "increase"}, "improvement: increase, plan: decrease"),
        ({"direction": "decrease"}, None, {"direction": "increase"}, "direction: increase, plan, direction: decrease"),
        ({"improvement": "decrease", "better": "up"}, None, {}, "plan: decrease, plan: increase"),
    ],
)
def test_declarations_that_differ_are_named_and_none_counts(
    plan: dict[str, str], protocol: str | None, overrides: dict[str, str], named: str
) -> None:
    extract = planned(extract_of(ERRORS), **plan)
    extract = stated_by_protocol(extract, protocol) if protocol else extract
    parameters = resolve(ABAB, overrides, extract)
    assert isinstance(parameters, AbabParameters)

    declared = declared_improvement(extract, parameters.improvement, parameters.direction)
    analysis = analysed(extract, **overrides)

    assert declared.better is None
    assert declared.undeclared.startswith("the declarations of which way is better differ (")
    assert named in declared.undeclared
    assert analysis.verdict in {"differs, lower under treatment", "not shown"}
    if analysis.verdict != "not shown":
        assert f"neither benefit nor harm, for {declared.undeclared}." in analysis.sentence


def test_phases_that_differ_are_named_by_their_labels() -> None:
    extract = planned(planned(extract_of(ERRORS), improvement="decrease"), 2, improvement="increase")

    declared = declared_improvement(extract, None)

    assert declared.undeclared == (
        "the declarations of which way is better differ (plan of baseline_1, intervention_A_1, intervention_A_2: "
        "decrease, plan of baseline_2: increase)"
    )


def test_a_word_that_is_no_direction_is_named_in_a_plan_only() -> None:
    extract = planned(extract_of(ERRORS))
    sideways = declared_improvement(stated_by_protocol(extract, "sideways"), None)
    cards = changed(extract, 1, parameters={**extract.phases[1].parameters, "alternative": "flashcards"})

    assert sideways.undeclared == "what is declared as better is no direction (protocol: sideways)"
    assert declared_improvement(cards, None).declarations == ()
    in_plan = analysed(planned(extract, direction="decrease", better="sideways"))
    assert in_plan.verdict == "differs, lower under treatment"
    assert "for what is declared as better is no direction (plan: sideways)." in in_plan.sentence


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (
            {"direction": "increase", "alternative": "less"},
            "the directions contradict each other (direction: increase, alternative: less)",
        ),
        (
            {"improvement": "decrease", "direction": "two-sided", "alternative": "less"},
            "the directions contradict each other (direction: two-sided, alternative: less)",
        ),
        (
            {"expectedDirection": "up", "predictedDirection": "down"},
            "the directions contradict each other (expectedDirection: up, predictedDirection: down)",
        ),
        ({"direction": "sideways"}, "the direction is not understood (direction: sideways)"),
        ({"improvement": "decrease", "alternative": 3}, "the direction is not understood (alternative: 3)"),
    ],
)
def test_a_plan_without_a_direction_gives_neither_benefit_nor_harm(plan: dict[str, object], problem: str) -> None:
    extract = planned(extract_of(ERRORS), **plan)

    analysis = analysed(extract)

    assert analysis.verdict == "differs, lower under treatment"
    assert f"It is called neither benefit nor harm, for in the plan {problem}." in analysis.sentence
    assert analysis.results["test"]["two_sided"] == "doubled"  # type: ignore[index, call-overload]
    standing = assess_compliance(
        ABAB, resolve(ABAB, {}, extract), extract, as_of_us=LATER, ends_us=LATER, prior_runs=PriorRuns()
    )
    assert f"in its plan {problem}" in standing.reasons


@pytest.mark.parametrize("word", ["two-tailed", "two tailed", "2-sided", "2 tailed", "Two-Sided", "nondirectional"])
def test_words_for_a_two_sided_test(word: str) -> None:
    extract = planned(extract_of(ERRORS), alternative=word, improvement="lower-is-better")

    assert resolve(ABAB, {}, extract).model_dump()["direction"] == "either"
    assert analysed(extract).verdict == "benefit"


@pytest.mark.parametrize(
    ("plan", "undeclared"),
    [
        ({"lowerIsBetter": "maybe"}, "what is declared as better is no direction (plan: lowerIsBetter: maybe)"),
        ({"improvement": True}, "what is declared as better is no direction (plan: True)"),
        ({"direction": None, "improvement": None}, "which way is better was not declared"),
        ({"lowerIsBetter": "yes"}, ""),
    ],
)
def test_no_word_for_better_fails_the_run(plan: dict[str, object], undeclared: str) -> None:
    extract = planned(extract_of(ERRORS), **plan)

    parameters = resolve(ABAB, {}, extract).model_dump()

    assert declared_improvement(extract, parameters["improvement"], parameters["direction"]).undeclared == undeclared


def test_an_expected_direction_beside_a_two_sided_test_is_no_contradiction() -> None:
    extract = planned(extract_of(ERRORS), expectedDirection="decrease", alternative="two-sided")

    assert resolve(ABAB, {}, extract).model_dump()["direction"] == "either"
    assert analysed(extract).verdict == "benefit"


def test_a_request_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(AnalysisError, match=r"contradict each other \(direction: up, alternative: less\)"):
        resolve_request(Request("r", "p", "ABAB_RANDOMIZATION", {"direction": "up", "alternative": "less"}))


@pytest.mark.parametrize("nested", [1, 2])
def test_a_plan_within_a_json_string_is_read(nested: int) -> None:
    extract = planned(extract_of(ERRORS), direction="decrease")
    part, whole = extract, extract
    for index, phase in enumerate(extract.phases):
        text: object = phase.parameters
        plan: object = phase.parameters["analysis"]
        for _ in range(nested):
            text, plan = json.dumps(text), json.dumps(plan)
        whole = changed(whole, index, parameters=text)
        part = changed(part, index, parameters={**phase.parameters, "analysis": plan})

    plain = analysed(extract)
    assert plain.verdict == "benefit"
    assert analysed(whole).results == analysed(part).results == plain.results


@pytest.mark.parametrize(
    ("parameters", "plan_for_people", "reason"),
    [
        ("flashcards", None, "the interventionParams of its phases are not understood: they are no JSON object"),
        (
            {"analysis": "a t test"},
            None,
            "its plan is not understood, for it is no JSON object (baseline_1: 'a t",
        ),
        ({"analysis": [1]}, None, "its plan is not understood, for it is no JSON object (baseline_1: [1], "),
        ({}, '{"direction": "decrease"}', "its phases record no plan of an analysis; the JSON in its analysisPlan is"),
        (None, json.dumps('{"direction": "up"}'), "its phases record no plan of an analysis; the JSON in its analysis"),
        ({}, "We expect fewer errors.", "its phases record no plan of an analysis"),
    ],
)
def test_a_plan_that_is_not_read_is_named(parameters: object, plan_for_people: str | None, reason: str) -> None:
    extract = extract_of(ERRORS)
    for index in range(4):
        extract = changed(extract, index, parameters=parameters)
    extract = extract.model_copy(
        update={"protocol": extract.protocol.model_copy(update={"plan": plan_for_people, "improvement": None})}
    )

    standing = assess_compliance(
        ABAB, resolve(ABAB, {}, extract), extract, as_of_us=LATER, ends_us=LATER, prior_runs=PriorRuns()
    )

    assert standing.reasons[0].startswith(reason)
    beside = "JSON in its analysisPlan is not read" in declared_improvement(extract, None).undeclared
    assert beside is (plan_for_people is not None and "{" in plan_for_people)


def test_phases_with_different_plans_are_named() -> None:
    extract = planned(extract_of(ERRORS), direction="decrease")
    other, none = planned(extract, 1, direction="increase"), changed(extract, 2, parameters={})

    def reason(analysed: Extract) -> str:
        return assess_compliance(
            ABAB, resolve(ABAB, {}, analysed), analysed, as_of_us=LATER, ends_us=LATER, prior_runs=PriorRuns()
        ).reasons[0]

    assert reason(other) == "its phases record different plans"
    assert reason(none) == "its phases record no plan in baseline_2"


def test_a_request_is_read_by_the_same_words() -> None:
    request = Request("r", "p", "ABAB_RANDOMIZATION", {"lowerIsBetter": True, "alternative": "two-sided"})

    assert resolve_request(request)[1] == {"improvement": "decrease", "direction": "either"}
    assert normalize_direction_names({"better": "up", "improvement": "down", "alpha": 0.1}) == {
        "improvement": "decrease",
        "alpha": 0.1,
    }
    assert [parse_direction(word) for word in ("Higher", "two_sided", "x", 3)] == ["increase", "either", None, None]


def test_a_search_for_changes_needs_no_declaration() -> None:
    extract = planned(extract_of(ONE), improvement="increase")

    assert declared_improvement(extract, None).better == "increase"
