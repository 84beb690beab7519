"""Interrupted time series and change points of a protocol: described, with their warnings, and never judged."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.interrupted_time_series import (
    analyse_change_points,
    analyse_interrupted,
    posterior_sentence,
)
from americano_pipelines.analysis.parameters import ChangePointParameters, SegmentedParameters
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.bayesian_regression import BayesianSegmented, Posterior
from americano_pipelines_tests.analysis.examples import ONE, alternating, extract_of


def test_the_regression_describes_and_does_not_judge() -> None:
    analysis = analyse_interrupted(observe(extract_of(ONE)), SegmentedParameters())

    assert analysis.sentence.startswith(
        "Described, not judged: at the first day of intervention_A_1 the level changed by +"
    )
    assert "about one time in four" in analysis.sentence
    assert "Newey and West's errors are the worse of the two" in analysis.sentence
    assert "verdict" not in analysis.results
    assert analysis.verdict is None
    first = analysis.results["regression"]["changes"][0]  # type: ignore[index, call-overload]
    assert [analysis.numbers["level_change_low"], analysis.numbers["level_change_high"]] == first["interval"]
    assert first["reml"]["interval"] == [
        analysis.numbers["level_change_reml_low"], analysis.numbers["level_change_reml_high"]
    ]  # fmt: skip
    assert "with AR(1) errors by REML (autocorrelation " in analysis.sentence
    assert "restricted maximum likelihood" in analysis.methods
    assert analysis.pictures["lines.png"].startswith(b"\x89PNG")


def test_errors_that_reml_cannot_tell_from_a_walk_are_named() -> None:
    # The extract's own events, each at the value of a walk.
    extract = extract_of(ONE)
    walk = np.cumsum(np.random.default_rng(8).normal(size=len(extract.values)))
    walking = extract.model_copy(update={"values": tuple(walk.tolist())})

    analysis = analyse_interrupted(observe(walking), SegmentedParameters())

    assert (
        "with AR(1) errors by REML nothing can be said, because the estimated autocorrelation (0.98)"
        in analysis.sentence
    )
    assert analysis.numbers["level_change_reml"] is None


@pytest.mark.parametrize("method", ["least_squares", "bayesian"])
def test_an_alternation_has_no_lines_and_that_is_no_failure(method: str) -> None:
    scheme = {"scheme": "days", "treatedDays": 1, "blockDays": 2}
    extract = alternating("BTTBTBBTTBBT", list(np.arange(12.0)), scheme)

    analysis = analyse_interrupted(observe(extract), SegmentedParameters.model_validate({"method": method}))

    assert analysis.sentence == (
        "Not described: in a design of type ALTERNATING phases are runs of days, and phase 'B0' has fewer than two "
        "days with a value: no line can be drawn through it."
    )
    assert (analysis.verdict, set(analysis.numbers.values())) == (None, {None})
    assert analysis.pictures["phases.png"].startswith(b"\x89PNG")
    weeks = alternating("B" * 7 + "T" * 7, list(np.random.default_rng(1).normal(size=14)), {**scheme, "blockDays": 14})
    assert analyse_interrupted(observe(weeks), SegmentedParameters()).sentence.startswith("Described, not judged")


def test_the_search_for_changes_is_exploration() -> None:
    analysis = analyse_change_points(observe(extract_of(ONE)), ChangePointParameters())

    assert analysis.sentence.startswith("Exploration, no verdict: changes of level on day ")
    assert analysis.results["change points"]["min_size"] == 7  # type: ignore[index, call-overload]


def test_without_pymc_a_bayesian_request_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pymc", None)

    with pytest.raises(AnalysisError, match=r"python -m pip install 'pymc"):
        analyse_interrupted(observe(extract_of(ONE)), SegmentedParameters(method="bayesian"))


def test_one_phase_has_nothing_that_changes() -> None:
    extract = extract_of(ONE)
    one_phase = extract.model_copy(update={"phases": extract.phases[:1]})

    with pytest.raises(AnalysisError, match="one phase only"):
        analyse_interrupted(observe(one_phase), SegmentedParameters())


def posterior(**changed: object) -> BayesianSegmented:
    level = Posterior("b", "level", 3.25, 1.5, (0.31, 6.2), 0.985, 1.002, 2400, 2100)
    days = np.zeros(20)
    fit = BayesianSegmented(
        changes=(level, replace(level, what="slope")),
        autocorrelation=0.2,
        autocorrelation_interval=(-0.1, 0.5),
        days=20,
        seed=11,
        chains=4,
        draws=1000,
        divergences=0,
        largest_r_hat=1.002,
        smallest_ess=2100,
        converged=True,
        pymc="5",
        fitted=days,
        counterfactual=days,
        counterfactual_interval=np.zeros((2, 20)),
        warning="W.",
    )
    return replace(fit, **changed)  # type: ignore[arg-type]


def test_a_posterior_is_told_with_its_diagnostics_and_its_warning() -> None:
    assert posterior_sentence(posterior()) == (
        "Described, not judged: at the first day of b the level changed by +3.25 (posterior mean; 95 % credible "
        "interval 0.31 to 6.20; probability of a rise 0.985). The sampler converged (R-hat at most 1.002, at least "
        "2,100 effective draws, 0 divergences, seed 11). W."
    )


def test_a_sampler_that_did_not_converge_is_told_first() -> None:
    sentence = posterior_sentence(posterior(converged=False, divergences=37, largest_r_hat=1.2))

    assert sentence.startswith("Not to be relied on: the sampler did not converge (R-hat at most 1.200")
    assert "37 divergences" in sentence


@pytest.mark.slow
def test_a_bayesian_request_is_answered_from_the_posterior() -> None:
    pytest.importorskip("pymc")

    analysis = analyse_interrupted(observe(extract_of(ONE)), SegmentedParameters(method="bayesian", seed=5))

    assert (analysis.name, analysis.verdict, analysis.seed) == ("interrupted_time_series", None, 5)
    assert "regression" not in analysis.results
    assert analysis.numbers["largest_r_hat"] is not None
    assert analysis.numbers["smallest_ess"] is not None
    assert "R-hat" in analysis.sentence
    assert analysis.pictures["lines.png"].startswith(b"\x89PNG")
