"""Rates of what is said, by simulation: level and power of the two-sided test, trends, missing days.

The figures are those of docs/decisions/0022-two-sided-p.md, 0023-missing-days.md and 0024-trend-within-phases.md.
"""

import numpy as np
import pytest

from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.missing_days import MissingDays, missing_days
from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest, randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines.statistics.within_phase_trend import within_phase_trend
from americano_pipelines_tests.statistics.simulation import Design, dependent_days, margin, p_values

pytestmark = pytest.mark.slow

LEVEL = 0.05
DESIGNS = {"40 days": Design(40, 6, 14), "56 days": Design(56, 7, 21)}
AUTOCORRELATIONS = (0.0, 0.3, 0.5)


@pytest.mark.parametrize("autocorrelation", AUTOCORRELATIONS)
@pytest.mark.parametrize("name", DESIGNS)
def test_the_doubled_test_keeps_half_the_level_on_each_side(name: str, autocorrelation: float) -> None:
    design, generator, sets = DESIGNS[name], np.random.default_rng(31), 2000
    drawn = design.drawn(generator, sets)
    noise = dependent_days(generator, design.days, sets, autocorrelation)
    for trend in (0.0, 0.05):
        p = p_values(design, noise + trend * np.arange(design.days)[:, None], drawn)
        rates = [float(((p.doubled <= LEVEL) & (p.points_up == up)).mean()) for up in (True, False)]
        print(f"doubled, {name}, AR(1) {autocorrelation}, trend {trend}: up {rates[0]:.4f}, down {rates[1]:.4f}")  # noqa: T201
        assert all(rate <= LEVEL / 2 + margin(LEVEL / 2, sets) for rate in rates)
        assert sum(rates) >= 0.8 * LEVEL - margin(LEVEL, sets)


def test_on_a_trend_only_the_absolute_test_is_one_sided() -> None:
    """Why p is doubled: 0.05 standard deviations a day hide a decrease from the absolute value."""
    design, generator, sets = DESIGNS["56 days"], np.random.default_rng(32), 2000
    drawn = design.drawn(generator, sets)
    trend = 0.05 * np.arange(56)[:, None]
    noise = dependent_days(generator, 56, sets, 0)
    power = {}
    for effect in (1.0, -1.0):
        p = p_values(design, noise + trend + effect * design.treated(drawn), drawn)
        power[effect] = float((p.doubled <= LEVEL).mean()), float((p.absolute <= LEVEL).mean())

    print(f"power on a trend, (doubled, absolute): {power}")  # noqa: T201
    assert abs(power[1.0][0] - power[-1.0][0]) <= 2 * margin(0.5, sets)
    assert power[1.0][1] - power[-1.0][1] > 0.4
    false = p_values(design, noise + trend, drawn)
    false_up = float(((false.absolute <= LEVEL) & (false.observed > 0)).mean())
    assert false_up > LEVEL / 2 + margin(LEVEL / 2, sets)


@pytest.mark.parametrize("name", DESIGNS)
def test_p_and_interval_agree_in_every_data_set_and_did_not(name: str) -> None:
    design, generator, sets = DESIGNS[name], np.random.default_rng(33), 40
    parted = tests = 0
    for autocorrelation in AUTOCORRELATIONS:
        for effect in (0, 0.5, 1, 2):
            drawn = design.drawn(generator, sets)
            series = dependent_days(generator, design.days, sets, autocorrelation) + effect * design.treated(drawn)
            p = p_values(design, series, drawn)
            for number in range(sets):
                test = randomization_test([design.case(series, drawn, number)], direction=None)
                assert test.p == pytest.approx(p.doubled[number])
                assert rejects(test.p, LEVEL) is not test.interval.holds_zero
                parted += bool(p.absolute[number] <= LEVEL) and test.interval.holds_zero
                tests += 1

    print(f"absolute p with the interval of two one-sided tests, {name}: {parted} of {tests} parted")  # noqa: T201
    assert parted / tests > 0.04


@pytest.mark.parametrize("autocorrelation", AUTOCORRELATIONS)
@pytest.mark.parametrize("name", DESIGNS)
def test_a_trend_is_reported_of_trends_only(name: str, autocorrelation: float) -> None:
    """An effect that grows from 0 to 2 or 4 in each treatment phase was called a trend in up to .25 or .47."""
    design, generator, sets = DESIGNS[name], np.random.default_rng(34), 500
    drawn = design.drawn(generator, sets)
    lengths = design.lengths[drawn]
    noise = dependent_days(generator, design.days, sets, autocorrelation)
    treated = np.array([False, True, False, True])
    said: dict[tuple[float, float], int] = dict.fromkeys([(0, 0), (0.2, 0), (0, 2), (0, 4)], 0)
    for number in range(sets):
        phase = np.repeat(np.arange(4), lengths[number])
        position = np.concatenate([np.linspace(0, 1, days) for days in lengths[number]])
        # Levels of phases are taken off, so the effect makes no difference to the rate.
        effect = number % 4 * (phase % 2)
        for slope, growth in said:
            grown = slope * np.arange(design.days) + growth * position * (phase % 2)
            trend = within_phase_trend(noise[:, number] + effect + grown, phase, treated)
            assert trend is not None
            said[slope, growth] += trend.visible

    rates = {what: count / sets for what, count in said.items()}
    print(f"a trend is said, {name}, AR(1) {autocorrelation}, (slope, growth): {rates}")  # noqa: T201
    assert rates[0, 0] <= 0.02
    assert max(rates[0, 2], rates[0, 4]) <= 0.05 + margin(0.05, sets)
    assert rates[0.2, 0] > 0.2


def retest(case: Case, direction: Direction | None) -> RandomizationTest:
    return randomization_test([case], direction=direction)


def withheld(missing: MissingDays) -> bool:
    """Whether a finding is withheld because of missing days, as an analysis does."""
    return missing.is_unequal and not missing.is_settled(LEVEL)


@pytest.mark.parametrize(
    ("share", "sets", "least_findings", "most_said"), [(0.4, 400, 0.28, 0.01), (0.2, 400, 0.12, 0.04)]
)
def test_the_lowest_treatment_days_missing_make_no_benefit(
    share: float, sets: int, least_findings: float, most_said: float
) -> None:
    design, generator = DESIGNS["56 days"], np.random.default_rng(35)
    drawn = design.drawn(generator, sets)
    series = dependent_days(generator, 56, sets, 0)
    treated = design.treated(drawn)
    for number in range(sets):
        days = np.flatnonzero(treated[:, number])
        lowest = days[np.argsort(series[days, number])[: round(share * days.size)]]
        series[lowest, number] = np.nan
    findings = said = 0
    p = p_values(design, series, drawn)
    for number in np.flatnonzero(p.higher <= LEVEL):
        case = design.case(series, drawn, int(number))
        test = retest(case, "increase")
        assert test.p == pytest.approx(p.higher[number])
        findings += 1
        said += not withheld(missing_days(case, test, retest))

    print(f"lowest {share:.0%} missing: found {findings / sets:.4f}, said {said / sets:.4f} of {sets}")  # noqa: T201
    assert findings / sets > least_findings
    assert said / sets <= most_said + margin(most_said, sets)


def test_days_that_are_missing_by_chance_cost_few_verdicts() -> None:
    design, generator, sets = DESIGNS["56 days"], np.random.default_rng(36), 300
    drawn = design.drawn(generator, sets)
    series = dependent_days(generator, 56, sets, 0) + 1.0 * design.treated(drawn)
    series[generator.random(series.shape) < 0.1] = np.nan
    p = p_values(design, series, drawn)
    findings = np.flatnonzero(p.higher <= LEVEL)
    lost = sum(
        withheld(missing_days(case, retest(case, "increase"), retest))
        for case in (design.case(series, drawn, int(number)) for number in findings)
    )

    print(f"a tenth missing by chance: {lost} of {findings.size} findings withheld")  # noqa: T201
    assert findings.size / sets > 0.5
    assert lost / findings.size <= 0.1 + margin(0.1, findings.size)
