"""Interrupted time series and change points of a protocol: described, with their warnings, and never judged."""

import sys

import pytest

from americano_pipelines.analysis.config import ChangePointParameters, SegmentedParameters
from americano_pipelines.analysis.observations import observe
from americano_pipelines.analysis.series import analyse_change_points, analyse_interrupted
from americano_pipelines.errors import AnalysisError
from americano_pipelines_tests.analysis.examples import ONE, extract_of


def test_the_regression_describes_and_does_not_judge() -> None:
    found = analyse_interrupted(observe(extract_of(ONE)), SegmentedParameters())

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


def test_without_pymc_a_bayesian_request_fails_and_is_never_answered_by_least_squares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pymc", None)

    with pytest.raises(AnalysisError, match=r"pip install 'americano-pipelines\[bayesian\]'"):
        analyse_interrupted(observe(extract_of(ONE)), SegmentedParameters(method="bayesian"))


def test_one_phase_has_nothing_that_changes() -> None:
    extract = extract_of(ONE)
    one = extract.model_copy(update={"phases": extract.phases[:1]})

    with pytest.raises(AnalysisError, match="one phase only"):
        analyse_interrupted(observe(one), SegmentedParameters())
