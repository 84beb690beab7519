"""The Bayesian piecewise line: known lines, repetition by the seed, and the message without PyMC."""

import re
import sys
import tomllib

import numpy as np
import pytest
from scipy.stats import norm

from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines.statistics.bayesian_regression import PYMC, WARNING, bayesian
from americano_pipelines.statistics.segmented_regression import design_matrix, segmented

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


def posterior_on_a_grid(values: np.ndarray, phase: np.ndarray) -> list[tuple[float, float, float]]:
    """Mean, deviation and probability above 0 of the changes of two phases, without a sampler.

    Under a known autocorrelation and scale the coefficients are normal; both are summed over a grid.
    """
    used = ~np.isnan(values)
    units = np.array([1.0, used.sum() / 2] * 2)
    centre, scale = values[used & (phase == 0)].mean(), values[used].std(ddof=1)
    table = np.column_stack((design_matrix(phase, 2)[used] / units, (values[used] - centre) / scale))
    gaps, nodes = np.diff(np.flatnonzero(used)), []
    for rho in np.linspace(-0.95, 0.95, 39):
        decay = rho**gaps
        spread = np.sqrt(1 - decay**2)
        white = np.vstack((table[:1], (table[1:] - decay[:, None] * table[:-1]) / spread[:, None]))
        design, outcome = white[:, :-1], white[:, -1]
        for sigma in np.geomspace(0.1, 3, 30):
            precision = design.T @ design / sigma**2 + np.eye(4) / 2.5**2
            mean = np.linalg.solve(precision, design.T @ outcome / sigma**2)
            weight = -np.log(spread).sum() - outcome.size * np.log(sigma) - outcome @ outcome / (2 * sigma**2)
            weight += 0.5 * mean @ precision @ mean - 0.5 * np.linalg.slogdet(precision)[1]
            # The priors, and the grid of sigma is even in its logarithm.
            weight += -(sigma**2) / 2 - (rho / 0.5) ** 2 / 2 + np.log(sigma)
            nodes.append((weight, mean, np.sqrt(np.diag(np.linalg.inv(precision)))))
    weights = np.exp(np.array([weight for weight, _, _ in nodes]) - max(weight for weight, _, _ in nodes))
    weights /= weights.sum()
    means, deviations = (np.array([row[part] for row in nodes]) for part in (1, 2))
    changes = []
    for index, unit in ((2, units[2]), (3, units[3])):
        mean = weights @ means[:, index]
        deviation = np.sqrt(weights @ (deviations[:, index] ** 2 + means[:, index] ** 2) - mean**2)
        above = weights @ norm.cdf(means[:, index] / deviations[:, index])
        changes.append((mean * scale / unit, deviation * scale / unit, above))
    return changes


@pytest.mark.slow
@pytest.mark.parametrize("missing", [[], [3, 9, 17]])
def test_the_sampler_draws_from_the_posterior_that_a_grid_gives(missing: list[int]) -> None:
    pytest.importorskip("pymc")
    values = VALUES.copy()
    values[missing] = np.nan

    posterior = bayesian(values, PHASE, ["pre", "post"], seed=1)

    assert (posterior.converged, posterior.divergences, posterior.days) == (True, 0, 24 - len(missing))
    assert [(change.label, change.what) for change in posterior.changes] == [("post", "level"), ("post", "slope")]
    for mine, (mean, deviation, above) in zip(posterior.changes, posterior_on_a_grid(values, PHASE), strict=True):
        assert mine.mean == pytest.approx(mean, abs=5 * deviation / mine.ess_bulk**0.5)
        assert mine.sd == pytest.approx(deviation, rel=0.1)
        assert mine.above_zero == pytest.approx(above, abs=0.01)
        assert mine.interval[0] < mine.mean < mine.interval[1]
    low, high = posterior.counterfactual_interval
    assert (low < posterior.counterfactual).all()
    assert (posterior.counterfactual < high).all()
    assert posterior.largest_r_hat < 1.01
    assert posterior.smallest_ess > 400


@pytest.mark.slow
def test_a_seed_repeats_the_draws() -> None:
    pytest.importorskip("pymc")
    posterior = bayesian(VALUES, PHASE, ["pre", "post"], seed=1)

    assert posterior.fitted == pytest.approx(segmented(VALUES, PHASE, ["pre", "post"]).fitted, abs=1.5)
    assert bayesian(VALUES, PHASE, ["pre", "post"], seed=1).changes == posterior.changes
    assert bayesian(VALUES, PHASE, ["pre", "post"], seed=2).changes != posterior.changes


@pytest.mark.slow
def test_what_the_warning_says_of_the_interval_is_what_is_measured() -> None:
    generator, left_out, autocorrelation = np.random.default_rng(4), 0, 0.5
    for _ in range(80):
        days = np.empty(40)
        days[0] = generator.normal() / np.sqrt(1 - autocorrelation**2)
        for day in range(1, 40):
            days[day] = autocorrelation * days[day - 1] + generator.normal()
        above = posterior_on_a_grid(days, np.repeat([0, 1], 20))[0][2]
        left_out += not 0.025 <= above <= 0.975

    print(f"level, 40 days, AR(1) {autocorrelation}: {left_out} of 80 intervals leave out no change")  # noqa: T201
    assert left_out / 80 < 0.14
    assert "intervals of the change of level leave out 0 three to six times of 100, at AR(1) 0 to .8" in WARNING


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
