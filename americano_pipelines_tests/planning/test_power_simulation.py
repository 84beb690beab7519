"""The simulation makes the very test of the analysis, and its figures are those of independent work."""

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning import power_simulation
from americano_pipelines.planning.planned_design import PlannedDesign, abab, alternating
from americano_pipelines.planning.power_plot import draw_power
from americano_pipelines.planning.power_simulation import (
    Assumptions,
    PlannedTest,
    Scenario,
    search_designs,
    simulate_batch,
    simulate_power,
)
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import randomization_test
from americano_pipelines.statistics.reference_set import Case

DESIGNS = {"phases": abab(28, 4, 12), "days": alternating(10, 5, None, 3), "blocks": alternating(16, 2, 4, None)}


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("direction", ["increase", "decrease", "either"])
@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_each_p_is_that_of_the_analysis(design: PlannedDesign, direction: str, missing: float) -> None:
    test, schedule = PlannedTest(direction), design.schedule  # type: ignore[arg-type]
    generator = np.random.default_rng(4)
    batch = simulate_batch(schedule, Assumptions(0.4, 1.0, missing), 12, generator)

    for effect in (0.0, 1.5):
        for row, p in enumerate(batch.p_values(effect, test).tolist()):
            treated = batch.treated[row]
            lengths = np.diff(np.flatnonzero(np.diff(treated, prepend=-1.0, append=-1.0))).tolist()
            observed = lengths if isinstance(schedule, PhaseSchedule) else treated.astype(int).tolist()
            case = Case(batch.values[row] + effect * treated, schedule, observed)
            try:
                expected = randomization_test([case], direction=test.one_sided).p
            except AnalysisError:
                expected = 1.0  # a phase has no value
            assert p == pytest.approx(expected, abs=1e-12)


def test_a_sample_of_the_assignments_gives_a_valid_p(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power_simulation, "MAX_ENUMERATED", 10)
    scenario = Scenario(PlannedTest("increase"), Assumptions(0.3), simulations=600)

    none, large = simulate_power(DESIGNS["phases"], scenario, (0.0, 4.0))

    assert none.low <= 0.05
    assert large.power > 0.95
    batch = simulate_batch(DESIGNS["phases"].schedule, Assumptions(), 5, np.random.default_rng(1))
    assert batch.p_values(50.0, PlannedTest("increase")).min() >= 1 / (power_simulation.SAMPLE + 1)


@pytest.mark.parametrize("direction", ["increase", "decrease", "either"])
def test_without_an_effect_the_level_is_kept_and_power_grows(direction: str) -> None:
    scenario = Scenario(PlannedTest(direction), Assumptions(0.5, 2.0, 0.1), simulations=800)  # type: ignore[arg-type]

    powers = simulate_power(DESIGNS["phases"], scenario, (0.0, 1.0, 2.0, 4.0))

    assert powers[0].low <= 0.05
    assert sorted(power.power for power in powers) == [power.power for power in powers]
    assert all(power.low <= power.power <= power.high for power in powers)


def test_the_published_power_of_the_slow_suite_is_met() -> None:
    """56 days, phases of 7 to 21 days, 1 SD: .50 two-sided, by the tests of `test_what_is_said_simulated.py`."""
    (power,) = simulate_power(abab(56, 7, 21), Scenario(PlannedTest(), Assumptions(), simulations=600), (1.0,))

    assert power.low <= 0.5 <= power.high


def test_a_search_ends_with_the_shortest_that_is_enough() -> None:
    scenario = Scenario(PlannedTest("increase"), Assumptions(), simulations=200)

    options = search_designs(abab(16, 2, 8), scenario, 1.5, 0.8)

    enough = [option for option in options if option.power.power >= 0.8]
    shortest = min(enough, key=lambda option: option.design.days)
    assert 16 < shortest.design.days < 48
    shorter = [option for option in options if option.design.days == shortest.design.days - 1]
    assert all(option.power.power < 0.8 for option in shorter)
    assert [option.design.days for option in options] == sorted(option.design.days for option in options)
    assert {option.design.bounds for option in options if option.design.days == 16} > {"2-8 days a phase"}


def test_a_search_looks_at_no_longer_design_where_it_is_not_needed_or_no_use() -> None:
    scenario = Scenario(PlannedTest("increase"), Assumptions(), simulations=100)

    assert {option.design.days for option in search_designs(abab(28, 4, 12), scenario, 5, 0.8)} == {28}
    assert {option.design.days for option in search_designs(abab(28, 4, 12), scenario, 0.01, 0.8)} == {28, 84}


def test_what_cannot_be_simulated_says_why() -> None:
    for assumptions, words in (((1.0,), "autocorrelation 1"), ((0, 0, 1.0), "missing days 1"), ((0, np.inf), "trend")):
        with pytest.raises(AnalysisError, match=words):
            Assumptions(*assumptions)


def test_the_picture_is_a_png_and_the_same_each_time() -> None:
    powers = simulate_power(DESIGNS["days"], Scenario(PlannedTest(), Assumptions(), simulations=100), (0.0, 1.0))

    pictures = {draw_power(powers, title="$a$ title", alpha=0.05, target=0.8) for _ in range(2)}

    assert len(pictures) == 1
    assert pictures.pop().startswith(b"\x89PNG")
