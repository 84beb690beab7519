"""A protocol's analysis from its extract: the demo's truths, every objection to a verdict, the same text each time."""

from html import escape

import numpy as np
import pytest

from americano_pipelines.analysis.abab import analyse_abab
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.html_report import render_report
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.demo.data.design import daily_outcomes, phases
from americano_pipelines.demo.data.protocols import PROTOCOLS, DemoProtocol
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import RandomizationTest, randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines_tests.analysis.examples import LATER, ONE, changed, extract_of, planned
from americano_pipelines_tests.statistics.examples import ABAB, TRUTHS


def analysed(extract: Extract, *, as_of_us: int = LATER, compliance: str = "planned", **parameters: object) -> Analysis:
    validated = AbabParameters.model_validate(parameters)
    return analyse_abab(observe(extract), validated, as_of_us=as_of_us, compliance=compliance)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_the_demos_protocols_are_judged_as_their_generator_says(protocol: DemoProtocol) -> None:
    analysis = analysed(extract_of(protocol), direction=protocol.direction)

    assert analysis.results["verdict"]["state"] == TRUTHS[protocol.name]  # type: ignore[index, call-overload]
    assert analysis.pictures.keys() == {"phases.png", "visual.png", "distribution.png"}
    assert all(picture.startswith(b"\x89PNG") for picture in analysis.pictures.values())
    assert "recorded with the phases" in analysis.methods


def test_without_a_recorded_drawing_there_is_no_test_and_no_default() -> None:
    analysis = analysed(extract_of(ONE, drawn=False), direction="increase")

    assert analysis.results["verdict"]["state"] == "no verdict"  # type: ignore[index, call-overload]
    assert "not a randomisation test, for no drawing of the phases is recorded" in analysis.sentence
    assert "the mean difference is +" in analysis.sentence
    assert analysis.results["test"] == {"kind": "not a randomisation test", "schedule from": "nowhere"}
    assert (analysis.numbers["p"], analysis.numbers["observed"]) == (None, None)
    assert analysis.pictures.keys() == {"phases.png", "visual.png"}


def test_bounds_that_come_with_the_request_are_called_exploratory() -> None:
    analysis = analysed(extract_of(ONE, drawn=False), direction="increase", min_days=7, max_days=21)

    assert analysis.results["test"]["schedule from"] == "given with the request, so this is exploratory"  # type: ignore[index, call-overload]
    assert analysis.results["verdict"]["state"] == "benefit"  # type: ignore[index, call-overload]


def test_time_between_phases_was_not_drawn_and_forbids_a_verdict() -> None:
    extract = extract_of(ONE)
    ends = extract.phases[1].starts_us
    analysis = analysed(changed(extract, 0, ends_us=ends - 2 * DAY_US), direction="increase")

    assert analysis.results["verdict"]["state"] == "no verdict"  # type: ignore[index, call-overload]
    assert "time between phases belongs to none of them (baseline_1 and intervention_A_1)" in analysis.sentence
    points = analysis.results["appraisal"]["points"]  # type: ignore[index, call-overload]
    assert points[-1]["found"].startswith("lengths other than planned")  # type: ignore[index, call-overload]
    whole = analysed(changed(extract, 0, ends_us=ends - 1000), direction="increase")
    assert whole.results == analysed(extract, direction="increase").results | {"phases": whole.results["phases"]}


def test_without_all_planned_days_the_end_may_be_a_choice() -> None:
    missing = analysed(changed(extract_of(ONE), 3, planned_days=None, ends_us=observe(extract_of(ONE)).planned_end_us))

    assert missing.results["verdict"]["state"] == "no verdict"  # type: ignore[index, call-overload]
    assert "planned days are not recorded of every phase" in missing.sentence
    assert missing.numbers["p"] is not None


def test_three_phases_of_an_abab_are_no_design_of_their_own() -> None:
    extract = extract_of(ONE)
    begun = extract.model_copy(update={"phases": extract.phases[:3]})

    analysis = analysed(begun, direction="increase")
    assert analysis.results["verdict"]["state"] == "no verdict"  # type: ignore[index, call-overload]
    assert (
        "the design is ABAB, and its phases are baseline, treatment, baseline: it is not complete" in analysis.sentence
    )


def test_the_plan_is_over_with_the_protocol_when_that_ends_last() -> None:
    extract = extract_of(ONE)
    later = extract.protocol.model_copy(update={"ends_us": observe(extract).planned_end_us + 9 * DAY_US})
    open_still = extract.model_copy(update={"protocol": later})
    as_of_us = observe(extract).planned_end_us + DAY_US

    assert "the plan is not over before" not in analysed(extract, direction="increase", as_of_us=as_of_us).sentence
    assert "the plan is not over before" in analysed(open_still, direction="increase", as_of_us=as_of_us).sentence


def test_a_dollar_in_a_name_begins_no_formula() -> None:
    extract = extract_of(ONE)
    named = extract.model_copy(update={"protocol": extract.protocol.model_copy(update={"name": "win $\\nope{$"})})

    assert analysed(changed(named, 0, label="$^$"), direction="increase").pictures["phases.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("bad", [{"minDays": True, "maxDays": 21}, {"minDays": 7, "maxDays": 10**25}, {"minDays": "7"}])
def test_bounds_that_are_no_days_are_no_drawing(bad: dict[str, object]) -> None:
    extract = extract_of(ONE)
    for index in range(4):
        extract = changed(extract, index, parameters={"randomization": bad})

    assert "the recorded drawing is not understood: a number of whole days is needed (m" in analysed(extract).sentence


def bounded(low: int, high: int) -> Extract:
    """The first protocol with other bounds recorded."""
    extract = extract_of(ONE)
    for index in range(4):
        extract = changed(extract, index, parameters={"randomization": {"minDays": low, "maxDays": high}})
    return extract


def test_lengths_that_could_not_be_drawn_get_no_verdict() -> None:
    analysis = analysed(bounded(13, 16), direction="increase")

    assert analysis.verdict == "no verdict"
    assert analysis.sentence.startswith("No verdict: not a randomisation test, for phases of ")
    assert " days could not have been drawn. Descriptively, treatment days differed from" in analysis.sentence
    assert "a difference at least as extreme (p = ." in analysis.sentence
    assert analysis.results["test"]["kind"] == "not a randomisation test"  # type: ignore[index, call-overload]
    assert analysis.results["test"]["admissible"] is False  # type: ignore[index, call-overload]
    assert analysis.numbers["p"] is not None
    assert analysis.results["appraisal"]["rating"] == "meets with reservations"  # type: ignore[index, call-overload]
    assert "was compared, which is no test, with a reference set" in analysis.methods


@pytest.mark.parametrize("bounds", [(1, 3), (40, 60)])
def test_bounds_that_admit_nothing_at_all_leave_nothing_to_compare_with(bounds: tuple[int, int]) -> None:
    analysis = analysed(bounded(*bounds), direction="increase")

    assert "could not have been drawn. Descriptively, the mean difference is +" in analysis.sentence
    assert analysis.numbers["p"] is None


def extract_end(extract: Extract) -> int:
    return extract.phases[0].starts_us + ONE.total_days * DAY_US


def drawn_test(values: np.ndarray) -> RandomizationTest:
    """The test of the first protocol as it was drawn, of these days."""
    schedule = PhaseSchedule(ONE.total_days, ABAB, (ONE.min_days,) * 4, (ONE.max_days,) * 4)
    return randomization_test([Case(values, schedule, [phase.days for phase in phases(ONE)])], direction="increase")


def test_a_last_phase_that_ended_a_day_early_is_tested_as_drawn() -> None:
    extract = extract_of(ONE)
    early = changed(extract, 3, ends_us=extract_end(extract) - DAY_US)
    values = daily_outcomes(ONE).copy()
    values[-1] = np.nan

    analysis = analysed(early, direction="increase")

    expected = drawn_test(values)
    assert (analysis.numbers["observed"], analysis.numbers["p"]) == (pytest.approx(expected.observed), expected.p)
    assert analysis.verdict == "benefit"
    lengths = [phase.days for phase in phases(ONE)]
    drawn, actual = (", ".join(map(str, days)) for days in (lengths, [*lengths[:-1], lengths[-1] - 1]))
    said = f"the days are compared as they were drawn (phases of {drawn} days), though the phases had {actual} days"
    assert said in analysis.sentence
    assert said[1:] in analysis.methods
    assert "meets the standards with reservations: lengths other than planned" in analysis.sentence


@pytest.mark.parametrize("late", [1, 2])
def test_a_phase_that_ran_over_is_tested_as_drawn(late: int) -> None:
    extract = extract_of(ONE)
    late_start = changed(extract, 1, starts_us=extract.phases[1].starts_us + late * DAY_US)

    analysis = analysed(late_start, direction="increase")

    expected = drawn_test(daily_outcomes(ONE))
    assert (analysis.numbers["observed"], analysis.numbers["p"]) == (pytest.approx(expected.observed), expected.p)
    assert (analysis.verdict, analysis.results["test"]["kind"]) == ("benefit", "randomisation test")  # type: ignore[index, call-overload]
    assert "as they were drawn" in analysis.sentence


def test_phases_that_ran_over_are_tested_on_the_planned_days() -> None:
    extract = extract_of(ONE)
    moved = extract
    for index in (1, 2, 3):
        moved = changed(moved, index, starts_us=extract.phases[index].starts_us + DAY_US)
    end = extract_end(extract)
    moved = moved.model_copy(
        update={
            "times_us": [*moved.times_us, end + DAY_US // 2],
            "values": [*moved.values, 99.0],
            "labels": [*moved.labels, None],
        }
    )

    analysis = analysed(moved, direction="increase")

    expected = drawn_test(daily_outcomes(ONE))
    assert analysis.counts["days"] == ONE.total_days + 1
    assert (analysis.numbers["observed"], analysis.numbers["p"]) == (pytest.approx(expected.observed), expected.p)
    assert analysis.verdict == "benefit"


def test_a_plan_that_was_not_kept_at_all_does_not_meet_the_standards() -> None:
    extract = extract_of(ONE)
    days = ONE.total_days
    short = changed(extract, 1, starts_us=extract.phases[0].starts_us + DAY_US)
    short = changed(short, 2, starts_us=extract.phases[0].starts_us + (days - 2) * DAY_US)
    short = changed(short, 3, starts_us=extract.phases[0].starts_us + (days - 1) * DAY_US)

    analysis = analysed(short, direction="increase")

    assert "The design does not meet the standards:" in analysis.sentence
    assert analysis.results["appraisal"]["points"][-1]["rating"] == "does not meet"  # type: ignore[index, call-overload]


def test_before_the_plan_is_over_there_is_no_verdict() -> None:
    extract = extract_of(ONE)
    end = extract.phases[0].starts_us + ONE.total_days * DAY_US

    assert (
        "the plan is not over before 2025-12-01" in analysed(extract, as_of_us=end - 1, direction="increase").sentence
    )
    assert analysed(extract, as_of_us=end, direction="increase").results["verdict"]["state"] == "benefit"  # type: ignore[index, call-overload]


def designed(design: str | None, extract: Extract | None = None) -> Extract:
    extract = extract or extract_of(ONE)
    return extract.model_copy(update={"protocol": extract.protocol.model_copy(update={"design": design})})


@pytest.mark.parametrize("design", ["MULTIPLE_BASELINE", "CHANGING_CRITERION"])
def test_designs_that_have_no_test_here_get_no_verdict_and_the_reason(design: str) -> None:
    analysis = analysed(designed(design), direction="increase")

    assert analysis.verdict == "no verdict"
    assert analysis.sentence.startswith(f"No verdict: a design of type {design} has no randomization test here: ")
    assert "Descriptively, the mean difference is +" in analysis.sentence
    assert (analysis.numbers["p"], analysis.numbers["observed"]) == (None, None)
    assert f"No test was made: a design of type {design}" in analysis.methods


@pytest.mark.parametrize("phase_type", ["BASELINE", "INTERVENTION_A"])
def test_phases_of_one_condition_only_are_no_error(phase_type: str) -> None:
    extract = extract_of(ONE)
    for index in range(4):
        extract = changed(extract, index, type=phase_type)

    analysis = analysed(extract, direction="increase")

    assert analysis.verdict == "no verdict"
    assert "a schedule needs treatment and baseline phases" in analysis.sentence
    assert "no difference can be given" in analysis.sentence


def test_a_phase_without_any_value_is_no_error() -> None:
    extract = extract_of(ONE)
    first, second = extract.phases[1].starts_us, extract.phases[2].starts_us
    kept = [index for index, time in enumerate(extract.times_us) if not first <= time < second]
    fewer = extract.model_copy(
        update={name: [getattr(extract, name)[index] for index in kept] for name in ("times_us", "values", "labels")}
    )

    analysis = analysed(fewer, direction="increase")

    assert analysis.sentence.startswith("No verdict: a phase has no day with a value, so there is nothing to compare.")


@pytest.mark.parametrize(
    ("design", "why"),
    [
        (None, "the design is not stated"),
        (" ", "the design is not stated"),
        ("CROSSOVER", "the design CROSSOVER is none of ABAB, ALTERNATING, MULTIPLE_BASELINE, CHANGING_CRITERION"),
    ],
)
def test_a_design_that_is_missing_or_unknown_gets_no_verdict(design: str | None, why: str) -> None:
    analysis = analysed(designed(design), direction="increase")

    assert analysis.verdict == "no verdict"
    assert analysis.sentence.startswith(f"No verdict: {why}. Descriptively, treatment days differed")
    assert analysed(designed("abab"), direction="increase").verdict == "benefit"


def test_the_same_extract_gives_the_same_results_and_csv() -> None:
    extract = extract_of(PROTOCOLS[4])
    again = Extract.parse(extract.canonical())

    first, second = (analysed(each_extract, direction="increase") for each_extract in (extract, again))

    assert canonical_json(first.results) == canonical_json(second.results)
    assert first.pictures == second.pictures
    rows = first.files["daily.csv"].decode().splitlines()
    assert first.files == second.files
    assert rows[0] == "day,phase,condition,value,events"
    assert len(rows) == PROTOCOLS[4].total_days + 1


def test_the_page_has_sentence_pictures_method_and_no_foreign_markup() -> None:
    extract = extract_of(ONE)
    named = extract.model_copy(update={"protocol": extract.protocol.model_copy(update={"name": "<script>x</script>"})})
    analysis = analysed(named, direction="increase")

    page = render_report(
        analysis,
        "<b>title</b>",
        compliance="<i>Exploratory</i>; 3 before it.",
        parameters={"improvement": "decrease", "alpha": 0.013, "min_days": None},
        provenance={"snapshot": "s1", "nothing": None},
    )

    assert "<script>" not in page
    assert "&lt;b&gt;title&lt;/b&gt;" in page
    assert page.count("data:image/png;base64,") == 3
    assert "Benefit: treatment days differed" in page
    assert "not defined" in page
    assert (
        f'{escape(analysis.sentence)}</p><p class="standing">&lt;i&gt;Exploratory&lt;/i&gt;; 3 before it.</p>' in page
    )
    parameters = page[page.index("<h2>Parameters</h2>") : page.index("<h2>Provenance</h2>")]
    for name, shown in (("improvement", "decrease"), ("alpha", "0.013"), ("min_days", "not given")):
        assert f"<tr><th>{name}</th><td>{shown}</td></tr>" in parameters


@pytest.mark.parametrize(("improvement", "better"), [("increase", "higher"), ("decrease", "lower")])
def test_which_way_is_better_is_said_with_the_effects_and_in_the_method(improvement: str, better: str) -> None:
    analysis = analysed(planned(extract_of(ONE), improvement=improvement))

    assert analysis.results["effects"]["improvement"] == improvement  # type: ignore[index, call-overload]
    assert f"sessionPerformanceScore ({better} is better), was averaged by day" in analysis.methods


def test_every_picture_of_an_exploratory_analysis_says_so() -> None:
    planned, exploratory = (analysed(extract_of(ONE), compliance=label) for label in ("planned", "exploratory"))

    assert planned.results == exploratory.results
    assert planned.pictures.keys() == exploratory.pictures.keys() == {"phases.png", "visual.png", "distribution.png"}
    assert all(exploratory.pictures[name] != picture for name, picture in planned.pictures.items())


def test_a_phase_without_type_is_told() -> None:
    with pytest.raises(AnalysisError, match="have no type or no label"):
        observe(changed(extract_of(ONE), 1, type=None))
