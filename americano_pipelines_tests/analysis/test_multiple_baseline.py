"""A group as a multiple baseline: its scheme, its verdict, what forbids one, and its days computed again."""

import json
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
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.recompute import recompute
from americano_pipelines_tests.analysis.examples import LATER, ORIGIN

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
    assert [case["case"] for case in analysis.results["visual analysis"]] == ["Case 0", "Case 1", "Case 2"]


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
