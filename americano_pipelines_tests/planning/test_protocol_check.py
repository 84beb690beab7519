"""A check names what a protocol lacks for a verdict, and how to record it."""

import pytest

from americano_pipelines.analysis.extract import Extract
from americano_pipelines.planning.protocol_check import CheckedItem, check_extract
from americano_pipelines.warehouse.plan_history import PlanSighting
from americano_pipelines_tests.analysis.examples import LATER, ONE, alternating, changed, extract_of, planned

EARLY = PlanSighting(
    plan_sha256="0" * 64,
    first_seen_snapshot="20000102T000000Z-1",
    first_seen_at="2000-01-02T00:00:00+00:00",
    source_updated_at=None,
    watched_since="2000-01-01T00:00:00+00:00",
)
COMPLETE = extract_of(ONE)


def check(extract: Extract, sighting: PlanSighting | None = EARLY, as_of_us: int = LATER) -> dict[str, CheckedItem]:
    return {item.what: item for item in check_extract(extract, sighting, as_of_us)}


def incomplete(extract: Extract, sighting: PlanSighting | None = EARLY, as_of_us: int = LATER) -> dict[str, str]:
    return {what: item.text for what, item in check(extract, sighting, as_of_us).items() if not item.complete}


def test_a_complete_protocol_lacks_nothing() -> None:
    items = check(COMPLETE)

    assert {what for what, item in items.items() if not item.complete} == set()
    assert items["plan"].text == "randomization test, two-sided, alpha 0.05"
    assert "assignments, the smallest p is" in items["randomization"].text


def test_a_running_protocol_without_values_lacks_nothing() -> None:
    empty = COMPLETE.model_copy(update={"times_us": [], "values": [], "labels": []})

    assert incomplete(empty, as_of_us=COMPLETE.phases[0].starts_us) == {}
    assert set(incomplete(empty)) == {"design", "outcome"}, "it is over, and there is nothing to test"


@pytest.mark.parametrize(
    ("extract", "what", "words"),
    [
        (changed(COMPLETE, 1, type=None), "phases", "no type or no label"),
        (changed(COMPLETE, 1, planned_days=None), "phases", "is recorded of intervention_A_1: set plannedDuration"),
        (changed(COMPLETE, 1, parameters=None), "plan", "set interventionParams.analysis, the same in each"),
        (planned(COMPLETE, type="CHANGE_POINT_DETECTION"), "plan", "a verdict needs ABAB_RANDOMIZATION"),
        (planned(COMPLETE, type="GUESS"), "plan", "'GUESS'; a verdict needs ABAB_RANDOMIZATION (there are ABAB_"),
        (
            planned(COMPLETE, type="MULTIPLE_BASELINE", group="g"),
            "plan",
            "the multiple baseline of a group, which is not",
        ),
        (planned(COMPLETE, alpha=7), "plan", "alpha of the plan"),
        (planned(COMPLETE), "better", "was not declared; add improvement to the plan"),
        (planned(COMPLETE, alpha=1e-9), "randomization", "above the level of 1e-09: 2000000000 assignments"),
        (extract_of(ONE, drawn=False), "randomization", "set interventionParams.randomization of each phase"),
        (changed(COMPLETE, 1, planned_days=60), "randomization", "could not have been drawn"),
        (
            COMPLETE.model_copy(update={"protocol": COMPLETE.protocol.model_copy(update={"design": "ABABAB?"})}),
            "design",
            "none of ABAB",
        ),
        (alternating("TBTB", [1, 2, 3, 4], {}), "randomization", "record it in interventionParams.randomization"),
    ],
)
def test_what_is_missing_is_named(extract: Extract, what: str, words: str) -> None:
    assert words in incomplete(extract)[what]


def test_a_plan_that_was_seen_after_the_end_is_named() -> None:
    late = EARLY.model_copy(update={"first_seen_at": "2090-01-01T00:00:00+00:00"})

    assert "first seen on 2090-01-01" in incomplete(COMPLETE, late)["seen"]
    assert "run `americano sync`" in incomplete(COMPLETE, None)["seen"]


def test_each_declared_contrast_is_checked() -> None:
    contrasts = [["INTERVENTION_A", "BASELINE"], ["INTERVENTION_B", "BASELINE"]]
    two = planned(changed(COMPLETE, 3, type="INTERVENTION_B"), improvement="increase", contrasts=contrasts)

    items = check(two)

    assert items["randomization"].complete
    # B follows one phase only, whose days and its own are divided in so many ways.
    small = items["contrast INTERVENTION_B-BASELINE"]
    assert not small.complete
    assert "above the level of 0.05: 40 assignments are needed" in small.text
