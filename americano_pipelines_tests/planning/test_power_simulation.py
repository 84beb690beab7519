"""The simulation makes the very test of the analysis, and its figures are those of independent work."""

from itertools import product

import numpy as np
import pytest

from americano_pipelines.analysis.abab_results import compute_abab_results
from americano_pipelines.analysis.condition_contrasts import Contrast, contrasts_of
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.analysis.preregistration import resolve
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning import simulated_experiment
from americano_pipelines.planning.planned_design import PlannedDesign, alternating, changing_criterion, phase_design
from americano_pipelines.planning.power_plot import draw_power
from americano_pipelines.planning.power_search import search_designs
from americano_pipelines.planning.power_simulation import Scenario, simulate_power
from americano_pipelines.planning.schedule_draw import phases_of
from americano_pipelines.planning.simulated_experiment import Assumptions, PlannedTest, simulate_experiments
from americano_pipelines.statistics.outcome_statistics import Statistic
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines_tests.planning.planned_extracts import planned_extract

CONTRASTS = contrasts_of("INTERVENTION_A-BASELINE, INTERVENTION_B-BASELINE")
DESIGNS = {
    "phases": phase_design("ABAB", 28, 4, 12),
    "days": alternating(10, 5, None, 3),
    "blocks": alternating(16, 2, 4, None),
}
DESIGNS["days between others"] = alternating(
    22, 2, 4, None, contrast=Contrast("INTERVENTION_B", "INTERVENTION_A"), before=4, after=2
)
DESIGNS["two interventions"] = phase_design("ABAC", 32, 4, 20, CONTRASTS)


def analysed_p(design: PlannedDesign, assignment: list[int], values: Values, test: PlannedTest) -> list[float]:
    """The p by which the analysis judges each contrast of an experiment that was recorded as it was planned."""
    plan = {"direction": test.direction, "alpha": test.alpha, "statistic": test.statistic}
    extract = planned_extract(design, phases_of(design, assignment), plan, values)
    parameters = resolve(KINDS["abab_randomization"], {}, extract)
    assert isinstance(parameters, AbabParameters)
    results = compute_abab_results(observe(extract), parameters)
    primary = 1.0 if results.test is None else results.test.p
    return [primary, *(other.adjusted_p or 1.0 for other in results.contrasts[1:])]


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("direction", ["increase", "decrease", "either"])
@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_each_p_is_that_of_the_analysis(design: PlannedDesign, direction: str, missing: float) -> None:
    # An analysis of two interventions takes three times as long.
    number = 12 if len(design.contrasts) == 1 else 3
    check_each_p(design, PlannedTest(direction), missing, number)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        *product(("phases", "two interventions"), ("median", "slope", "immediacy", "nap")),
        *product(("blocks", "days between others"), ("median", "nap")),
    ],
)
def test_each_p_of_another_statistic_is_that_of_the_analysis(name: str, statistic: Statistic) -> None:
    check_each_p(DESIGNS[name], PlannedTest(statistic=statistic), missing=0.15, number=3)


def check_each_p(design: PlannedDesign, test: PlannedTest, missing: float, number: int) -> None:
    experiments = simulate_experiments(design, Assumptions(0.4, 1.0, missing), number, np.random.default_rng(4))

    for experiment in experiments:
        p = experiment.p_values((0.0, 1.5), test)
        assignment = experiment.contrasts[0].assignments[0].tolist()
        for place, target in enumerate(experiment.contrasts):
            for column, effect in enumerate((0.0, 1.5)):
                values = experiment.values + effect * target.effect_days(test.statistic)
                expected = analysed_p(design, assignment, values, test)
                assert p[place, column] == pytest.approx(expected[place], abs=1e-12)


def test_a_sample_of_the_assignments_gives_a_valid_p(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_experiment, "MAX_ENUMERATED", 10)
    scenario = Scenario(PlannedTest("increase"), Assumptions(0.3), simulations=600)

    none, large = simulate_power(DESIGNS["phases"], scenario, (0.0, 4.0))

    assert none.low <= 0.05
    assert large.power > 0.95
    for experiment in simulate_experiments(DESIGNS["phases"], Assumptions(), 5, np.random.default_rng(1)):
        assert experiment.p_values((50.0,), PlannedTest("increase")).min() >= 1 / (simulated_experiment.SAMPLE + 1)


@pytest.mark.parametrize("direction", ["increase", "decrease", "either"])
def test_without_an_effect_the_level_is_kept_and_power_grows(direction: str) -> None:
    scenario = Scenario(PlannedTest(direction), Assumptions(0.5, 2.0, 0.1), simulations=800)  # type: ignore[arg-type]

    powers = simulate_power(DESIGNS["phases"], scenario, (0.0, 1.0, 2.0, 4.0))

    assert powers[0].low <= 0.05
    assert sorted(power.power for power in powers) == [power.power for power in powers]
    assert all(power.low <= power.power <= power.high for power in powers)


def test_the_published_power_of_the_slow_suite_is_met() -> None:
    """56 days, phases of 7 to 21 days, 1 SD: .50 two-sided, by the tests of `test_what_is_said_simulated.py`."""
    (power,) = simulate_power(
        phase_design("ABAB", 56, 7, 21), Scenario(PlannedTest(), Assumptions(), simulations=600), (1.0,)
    )

    assert power.low <= 0.5 <= power.high


def test_a_search_ends_with_the_shortest_that_is_enough() -> None:
    scenario = Scenario(PlannedTest("increase"), Assumptions(), simulations=200)

    options = search_designs(phase_design("ABAB", 16, 2, 8), scenario, 1.5, 0.8)

    enough = [option for option in options if option.power.power >= 0.8]
    shortest = min(enough, key=lambda option: option.design.days)
    assert 16 < shortest.design.days < 48
    shorter = [option for option in options if option.design.days == shortest.design.days - 1]
    assert all(option.power.power < 0.8 for option in shorter)
    assert [option.design.days for option in options] == sorted(option.design.days for option in options)
    assert {option.design.bounds for option in options if option.design.days == 16} > {"2-8 days a phase"}


def test_a_search_stops_where_a_longer_design_is_not_needed_or_useless() -> None:
    scenario = Scenario(PlannedTest("increase"), Assumptions(), simulations=100)

    assert {option.design.days for option in search_designs(phase_design("ABAB", 28, 4, 12), scenario, 5, 0.8)} == {28}
    assert {option.design.days for option in search_designs(phase_design("ABAB", 28, 4, 12), scenario, 0.01, 0.8)} == {
        28,
        84,
    }


def test_what_cannot_be_simulated_says_why() -> None:
    for assumptions, words in (((1.0,), "autocorrelation 1"), ((0, 0, 1.0), "missing days 1"), ((0, np.inf), "trend")):
        with pytest.raises(AnalysisError, match=words):
            Assumptions(*assumptions)


def test_the_power_of_a_changing_criterion_is_not_simulated() -> None:
    design = changing_criterion(40, 5, 15, (10.0, 20.0))

    with pytest.raises(AnalysisError, match="the power of a design CHANGING_CRITERION is not simulated"):
        simulate_power(design, Scenario(PlannedTest(), Assumptions(), simulations=1), (1.0,))


def test_a_statistic_that_the_design_does_not_have_is_refused() -> None:
    apart = phase_design("ABAC", 32, 4, 20, contrasts_of("INTERVENTION_B-INTERVENTION_A"))

    for design, statistic, words in (
        (DESIGNS["days"], "slope", "days that alternate are compared by mean, median, nap, not by slope"),
        (apart, "immediacy", "no phase of one condition follows one of the other"),
        (changing_criterion(40, 5, 15, (10.0, 20.0)), "nap", "tested by the distance from it, not by nap"),
    ):
        with pytest.raises(AnalysisError, match=words):
            design.check_statistic(statistic)  # type: ignore[arg-type]


def test_the_picture_is_a_png_and_the_same_each_time() -> None:
    powers = simulate_power(DESIGNS["days"], Scenario(PlannedTest(), Assumptions(), simulations=100), (0.0, 1.0))

    pictures = {draw_power(powers, title="$a$ title", alpha=0.05, target=0.8) for _ in range(2)}

    assert len(pictures) == 1
    assert pictures.pop().startswith(b"\x89PNG")
