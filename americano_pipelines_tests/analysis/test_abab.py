"""A protocol's analysis from its extract: the demo's truths, every objection to a verdict, the same text each time."""

from datetime import UTC, datetime, time

import numpy as np
import pytest

from americano_pipelines.analysis.abab import analyse_abab
from americano_pipelines.analysis.config import AbabParameters, ChangePointParameters, SegmentedParameters
from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.analysis.observations import observe
from americano_pipelines.analysis.outcome import Analysis
from americano_pipelines.analysis.report import render_report
from americano_pipelines.analysis.series import analyse_change_points, analyse_segmented
from americano_pipelines.demo.design import daily_outcomes, phases
from americano_pipelines.demo.protocols import PROTOCOLS, DemoProtocol
from americano_pipelines.errors import AnalysisError
from americano_pipelines.research.windows import DAY_US
from americano_pipelines.tracking.record import sha256_of
from americano_pipelines_tests.research.examples import TRUTHS

LATER = 2_000_000_000_000_000
ONE = PROTOCOLS[0]


def extract_of(protocol: DemoProtocol, *, drawn: bool = True) -> Extract:
    """The extract of a demo protocol with one event a day, at noon."""
    planned = phases(protocol)
    origin = int(datetime.combine(protocol.start, time(), UTC).timestamp() * 1e6)
    starts = [(phase.first - protocol.start).days for phase in planned]
    bounds = {"randomization": {"minDays": protocol.min_days, "maxDays": protocol.max_days}} if drawn else {}
    values = daily_outcomes(protocol)
    there = np.flatnonzero(~np.isnan(values))
    return Extract(
        outcome="sessionPerformanceScore",
        protocol=Protocol(
            protocol_id=protocol.name,
            learner="learner-x",
            name=protocol.title,
            design="ABAB",
            primary_outcome="sessionPerformanceScore",
            starts_us=origin,
            ends_us=None,
            plan=None,
            deviations=[],
        ),
        phases=[
            Phase(
                phase_id=phase.label,
                label=phase.label,
                type=phase.kind,
                starts_us=origin + start * DAY_US,
                ends_us=None,
                planned_days=phase.days,
                parameters=bounds,
                seed=protocol.seed,
            )
            for start, phase in zip(starts, planned, strict=True)
        ],
        times_us=[origin + int(day) * DAY_US + DAY_US // 2 for day in there],
        values=[float(values[day]) for day in there],
        labels=[None] * there.size,
    )


def analysed(extract: Extract, *, as_of_us: int = LATER, **asked: object) -> Analysis:
    return analyse_abab(observe(extract), AbabParameters.model_validate(asked), as_of_us=as_of_us)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_the_demos_protocols_are_judged_as_their_generator_says(protocol: DemoProtocol) -> None:
    found = analysed(extract_of(protocol), direction=protocol.direction)

    assert found.results["verdict"]["state"] == TRUTHS[protocol.name]  # type: ignore[index, call-overload]
    assert found.pictures.keys() == {"phases.png", "distribution.png"}
    assert all(picture.startswith(b"\x89PNG") for picture in found.pictures.values())
    assert "recorded with the phases" in found.methods


def changed(extract: Extract, index: int, **values: object) -> Extract:
    """The same with one phase changed."""
    changed_phase = extract.phases[index].model_copy(update=values)
    listed = [changed_phase if place == index else phase for place, phase in enumerate(extract.phases)]
    return extract.model_copy(update={"phases": listed})


def test_without_a_recorded_drawing_there_is_no_test_and_no_default() -> None:
    found = analysed(extract_of(ONE, drawn=False), direction="increase")

    assert found.results["verdict"]["state"] == "no verdict"  # type: ignore[index, call-overload]
    assert "not a randomisation test, for no drawing of the phases is recorded" in found.sentence
    assert "the mean difference is +" in found.sentence
    assert found.results["test"] == {"kind": "not a randomisation test", "schedule from": "nowhere"}
    assert found.pictures.keys() == {"phases.png"}


def test_bounds_that_come_with_the_request_are_called_exploratory() -> None:
    found = analysed(extract_of(ONE, drawn=False), direction="increase", min_days=7, max_days=21)

    assert found.results["test"]["schedule from"] == "given with the request, so this is exploratory"  # type: ignore[index, call-overload]
    assert found.results["verdict"]["state"] == "benefit"  # type: ignore[index, call-overload]


def test_lengths_that_could_not_have_been_drawn_forbid_a_verdict() -> None:
    bounds = {"randomization": {"minDays": 14, "maxDays": 14}}
    extract = extract_of(ONE)
    for index in range(4):
        extract = changed(extract, index, parameters=bounds)

    found = analysed(extract, direction="increase")

    assert "days could not have been drawn" in found.sentence


def test_lengths_that_were_not_kept_forbid_a_verdict() -> None:
    extract = extract_of(ONE)
    planned = [phase.planned_days or 0 for phase in extract.phases]
    swapped = changed(changed(extract, 0, planned_days=planned[0] + 1), 1, planned_days=planned[1] - 1)

    found = analysed(swapped, direction="increase")

    assert found.results["verdict"]["state"] == "no verdict"  # type: ignore[index, call-overload]
    assert "the phases were not kept as drawn" in found.sentence


def test_before_the_plan_is_over_there_is_no_verdict() -> None:
    extract = extract_of(ONE)
    end = extract.phases[0].starts_us + ONE.total_days * DAY_US

    assert (
        "the plan is not over before 2025-12-01" in analysed(extract, as_of_us=end - 1, direction="increase").sentence
    )
    assert analysed(extract, as_of_us=end, direction="increase").results["verdict"]["state"] == "benefit"  # type: ignore[index, call-overload]


@pytest.mark.parametrize("design", ["MULTIPLE_BASELINE", "CHANGING_CRITERION", "ALTERNATING"])
def test_designs_that_have_no_test_here_are_refused_with_the_reason(design: str) -> None:
    extract = extract_of(ONE)
    other = extract.model_copy(update={"protocol": extract.protocol.model_copy(update={"design": design})})

    with pytest.raises(AnalysisError, match=f"{design} has no randomization test here"):
        analysed(other)


def test_the_same_extract_gives_the_same_results_and_csv() -> None:
    extract = extract_of(PROTOCOLS[4])
    again = Extract.parse(extract.canonical())

    first, second = (analysed(one, direction="increase") for one in (extract, again))

    assert sha256_of(first.results) == sha256_of(second.results)
    assert first.pictures == second.pictures
    rows = observe(extract).daily_csv().splitlines()
    assert rows[0] == "day,phase,condition,value,events"
    assert len(rows) == PROTOCOLS[4].total_days + 1


def test_the_page_holds_sentence_pictures_method_and_no_markup_from_outside() -> None:
    extract = extract_of(ONE)
    named = extract.model_copy(update={"protocol": extract.protocol.model_copy(update={"name": "<script>x</script>"})})
    found = analysed(named, direction="increase")

    page = render_report(found, "<b>title</b>", {"snapshot": "s1", "nothing": None})

    assert "<script>" not in page
    assert "&lt;b&gt;title&lt;/b&gt;" in page
    assert page.count("data:image/png;base64,") == 2
    assert "Benefit: treatment days differed" in page
    assert "not defined" in page


def test_the_regression_describes_and_does_not_judge() -> None:
    found = analyse_segmented(observe(extract_of(ONE)), SegmentedParameters())

    assert found.sentence.startswith(
        "Described, not judged: at the first day of intervention_A_1 the level changed by +"
    )
    assert "about one time in four" in found.sentence
    assert "verdict" not in found.results
    assert found.pictures["lines.png"].startswith(b"\x89PNG")


def test_the_search_for_changes_is_exploration() -> None:
    found = analyse_change_points(observe(extract_of(ONE)), ChangePointParameters())

    assert found.sentence.startswith("Exploration, no verdict: changes of level on day ")
    assert found.results["change points"]["min_size"] == 7  # type: ignore[index, call-overload]


def test_a_phase_without_type_is_told() -> None:
    with pytest.raises(AnalysisError, match="have no type or no label"):
        observe(changed(extract_of(ONE), 1, type=None))
