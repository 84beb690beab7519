"""Combined p values and the mean of effects against published numbers and simulation."""

from math import factorial

import numpy as np
import pytest
from scipy.stats import t

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.combined_p import edgington, stouffer
from americano_pipelines.statistics.random_effects import random_effects

# Thirteen trials of the BCG vaccine: cases and others, vaccinated and not (Colditz et al. 1994; `dat.bcg` of metafor).
_BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
    (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
])  # fmt: skip


def test_edgington_is_the_distribution_of_a_sum_of_uniform_numbers() -> None:
    assert edgington([0.03]) == pytest.approx(0.03)
    assert edgington([0.3, 0.05, 0.2]) == pytest.approx(0.55**3 / 6)
    assert edgington([0.5] * 4) == pytest.approx(0.5)
    assert edgington([1.0] * 3) == pytest.approx(1)
    # Terms up to 20 ** 40 / 40! cancel; the mean of many uniform numbers is normal.
    assert edgington([0.5] * 40) == pytest.approx(0.5, abs=1e-12)
    assert edgington([0.01] * 40) == pytest.approx(0.4**40 / factorial(40))
    sums = np.random.default_rng(1).random((200_000, 5)).sum(axis=1)
    for total in (1.2, 2.5, 3.3):
        assert edgington([total / 5] * 5) == pytest.approx((sums <= total).mean(), abs=0.004)


def test_stouffer_weighs_all_tests_alike() -> None:
    # Two tests at z = 1.6449 make z = 2.3262.
    assert stouffer([0.05, 0.05]) == pytest.approx(0.0100, abs=5e-5)
    assert stouffer([0.5, 0.5]) == pytest.approx(0.5)
    assert stouffer([0.001, 1.0]) == 1
    for combine in (edgington, stouffer):
        with pytest.raises(AnalysisError, match="no p values"):
            combine([])
        with pytest.raises(AnalysisError, match="no p values"):
            combine([0.0, 0.4])


def test_published_mean_effect_of_metafor() -> None:
    with_case, without, control, control_without = _BCG.T
    effects = np.log(with_case / (with_case + without)) - np.log(control / (control + control_without))
    variances = 1 / with_case - 1 / (with_case + without) + 1 / control - 1 / (control + control_without)

    result = random_effects(effects.tolist(), np.sqrt(variances).tolist())

    # metafor: rma(yi, vi, method = "PM"), and with test = "knha".
    assert result is not None
    assert result.tau**2 == pytest.approx(0.3181, abs=5e-5)
    assert result.mean == pytest.approx(-0.7150, abs=5e-5)
    assert result.q == pytest.approx(152.2330, abs=5e-5)
    plain = np.sqrt(1 / (1 / (variances + result.tau**2)).sum())
    assert plain == pytest.approx(0.1809, abs=5e-5)
    assert result.se >= plain
    assert result.prediction is not None
    reach = t.ppf(0.975, 11) * np.sqrt(0.3181 + 0.1809**2)
    assert result.prediction == pytest.approx((-0.7150 - reach, -0.7150 + reach), abs=5e-4)
    assert sum(result.weights) == pytest.approx(1)


def test_effects_that_agree_differ_by_nothing_and_few_give_no_prediction() -> None:
    assert random_effects([1.0], [0.2]) is None
    two = random_effects([0.5, 0.5], [0.3, 0.3])
    assert two is not None
    assert (two.tau, two.i2, two.prediction) == (0, 0, None)
    assert two.mean == pytest.approx(0.5)
    assert two.se == pytest.approx(0.3 / np.sqrt(2)), "agreement by chance makes the error no smaller"
