"""Which way is better: every place and spelling that may declare it, and what is said without or with two of them."""

from typing import Any

import pytest

from americano_pipelines.analysis.abab import analyse_abab
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.declared_improvement import declared_improvement
from americano_pipelines.analysis.direction_words import way, with_usual_names
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.preregistration import resolve
from americano_pipelines.analysis.registry import KINDS, AbabParameters
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


def test_a_word_that_is_no_direction_is_named_and_beside_the_plan_it_is_about_something_else() -> None:
    extract = planned(extract_of(ERRORS))
    sideways = declared_improvement(stated_by_protocol(extract, "sideways"), None)
    cards = changed(extract, 1, parameters={**extract.phases[1].parameters, "alternative": "flashcards"})

    assert sideways.undeclared == "what is declared as better is no direction (protocol: sideways)"
    assert declared_improvement(cards, None).declarations == ()
    with pytest.raises(AnalysisError, match="improvement of the plan"):
        analysed(planned(extract, better="sideways"))


def test_a_request_is_read_by_the_same_words() -> None:
    request = Request("r", "p", "ABAB_RANDOMIZATION", {"lowerIsBetter": True, "alternative": "two-sided"})

    assert resolve_request(request)[1] == {"improvement": "decrease", "direction": "either"}
    assert with_usual_names({"better": "up", "improvement": "down", "alpha": 0.1}) == {
        "improvement": "decrease",
        "alpha": 0.1,
    }
    assert [way(word) for word in ("Higher", "two_sided", "x", 3)] == ["increase", "either", None, None]


def test_a_search_for_changes_needs_no_declaration() -> None:
    extract = planned(extract_of(ONE), improvement="increase")

    assert declared_improvement(extract, None).better == "increase"
