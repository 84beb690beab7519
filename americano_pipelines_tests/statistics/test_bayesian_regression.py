"""The Bayesian piecewise line: known lines, repetition by the seed, and the message without PyMC."""

import re
import sys
import tomllib

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines.statistics.bayesian_regression import PYMC, bayesian
from americano_pipelines.statistics.segmented_regression import segmented

# Published: the 24-month example of the Global Health Research course on interrupted time series.
PRE = [50, 60, 45, 47, 50, 55, 53, 51, 48, 50, 47, 48]
POST = [55, 60, 63, 67, 65, 69, 72, 68, 74, 71, 76, 70]
VALUES, PHASE = np.array(PRE + POST, dtype=np.float64), np.repeat([0, 1], 12)


def test_without_pymc_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymc", None)

    with pytest.raises(AnalysisError, match=re.escape(f"python -m pip install '{PYMC}'")):
        bayesian(VALUES, PHASE, ["pre", "post"], seed=1)
    extras = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["bayesian"] == [PYMC]


@pytest.mark.slow
def test_wide_priors_leave_what_least_squares_says_and_a_seed_repeats_it() -> None:
    pytest.importorskip("pymc")

    posterior, lines = bayesian(VALUES, PHASE, ["pre", "post"], seed=1), segmented(VALUES, PHASE, ["pre", "post"])

    for mine, its in zip(posterior.changes, lines.changes, strict=True):
        assert (mine.label, mine.what) == (its.label, its.what)
        assert mine.mean == pytest.approx(its.value, abs=its.se / 2)
        assert mine.sd == pytest.approx(its.se, rel=0.25)
        assert mine.interval[0] < mine.mean < mine.interval[1]
        assert mine.above_zero > 0.99
    assert posterior.fitted == pytest.approx(lines.fitted, abs=1.5)
    low, high = posterior.counterfactual_interval
    assert (low < posterior.counterfactual).all()
    assert (posterior.counterfactual < high).all()
    assert (posterior.converged, posterior.divergences) == (True, 0)
    assert posterior.largest_r_hat < 1.01
    assert posterior.smallest_ess > 400
    assert bayesian(VALUES, PHASE, ["pre", "post"], seed=1).changes == posterior.changes
    assert bayesian(VALUES, PHASE, ["pre", "post"], seed=2).changes != posterior.changes


@pytest.mark.slow
def test_the_scale_and_the_origin_of_the_outcome_do_not_matter() -> None:
    pytest.importorskip("pymc")
    values = VALUES.copy()
    values[[3, 17]] = np.nan

    plain = bayesian(values, PHASE, ["pre", "post"], seed=1)
    other = bayesian(1000 * values - 7, PHASE, ["pre", "post"], seed=1)

    assert plain.days == 22
    for mine, its in zip(plain.changes, other.changes, strict=True):
        # The same posterior, by chains that rounding may lead elsewhere: within four of its Monte Carlo errors.
        assert its.mean / 1000 == pytest.approx(mine.mean, abs=4 * mine.sd / mine.ess_bulk**0.5)
