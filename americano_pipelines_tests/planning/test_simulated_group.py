"""The simulation of a multiple baseline makes the very joint test of the analysis."""

import numpy as np
import pytest

from americano_pipelines.analysis.multiple_baseline_results import compute_multiple_baseline
from americano_pipelines.analysis.parameters import MultipleBaselineParameters
from americano_pipelines.analysis.preregistration import resolve
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.planning import simulated_experiment
from americano_pipelines.planning.group_design import DrawnCase, GroupDesign, drawn_starts
from americano_pipelines.planning.power_simulation import Scenario
from americano_pipelines.planning.schedule_draw import consecutive_phases
from americano_pipelines.planning.simulated_experiment import Assumptions, PlannedTest
from americano_pipelines.planning.simulated_group import SimulatedGroup, simulate_group_power, simulate_groups
from americano_pipelines_tests.planning.test_group_design import DESIGNS, group_extract


def analysed_p(design: GroupDesign, simulated: SimulatedGroup, effect: float, test: PlannedTest) -> float:
    """The p of the analysis of a group that was recorded as it was drawn."""
    cases = [
        DrawnCase(number, tuple(consecutive_phases([("BASELINE", start), ("INTERVENTION_A", design.days - start)])))
        for number, start in enumerate(simulated.experiment.starts, 1)
    ]
    values = list(simulated.with_effect(effect).values)
    extract = group_extract(design, cases, values, {"direction": test.direction, "alpha": test.alpha})
    parameters = resolve(KINDS["multiple_baseline"], {}, extract)
    assert isinstance(parameters, MultipleBaselineParameters)
    results = compute_multiple_baseline(extract, parameters)
    return 1.0 if results.test is None else results.test.p


@pytest.mark.parametrize("direction", ["increase", "decrease", "either"])
@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_each_joint_p_is_that_of_the_analysis(design: GroupDesign, direction: str) -> None:
    test = PlannedTest(direction)  # type: ignore[arg-type]
    for missing in (0.0, 0.2):
        for simulated in simulate_groups(design, Assumptions(0.4, 1.0, missing), 1, np.random.default_rng(4)):
            expected = [analysed_p(design, simulated, effect, test) for effect in (0.0, 1.5)]
            assert simulated.p_values((0.0, 1.5), test) == pytest.approx(expected, abs=1e-12)


def test_the_level_of_a_joint_test_is_kept_and_power_grows() -> None:
    scenario = Scenario(PlannedTest("decrease"), Assumptions(0.5, 2.0, 0.1), simulations=400)

    powers = simulate_group_power(DESIGNS["staggered"], scenario, (0.0, 1.0, 2.0, 4.0))

    assert powers[0].low <= 0.05
    assert sorted(power.power for power in powers) == [power.power for power in powers]
    assert powers[-1].power > 0.9


def test_a_sample_of_joint_starts_gives_a_valid_p(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_experiment, "MAX_ENUMERATED", 10)

    for simulated in simulate_groups(drawn_starts(3, 20, 4, 16), Assumptions(), 5, np.random.default_rng(1)):
        (p,) = simulated.p_values((50.0,), PlannedTest("increase"))
        assert p >= 1 / (simulated_experiment.SAMPLE + 1)
        assert p < 0.02
