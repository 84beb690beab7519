"""What is said of groups when days are missing by condition, over simulated groups with and without an effect."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from americano_pipelines.analysis.combined_extract import CombinedExtract
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.group_extract import GroupExtract
from americano_pipelines.analysis.parameters import AbabParameters, CombinedParameters, MultipleBaselineParameters
from americano_pipelines.analysis.registry import KINDS, Basis
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines_tests.analysis.examples import LATER, ORIGIN, planned, switching
from americano_pipelines_tests.analysis.test_multiple_baseline import group
from americano_pipelines_tests.statistics.simulation import dependent_days

BASIS = Basis("snapshot", LATER, "planned")
_STARTS, _DAYS = (13, 7, 19), 30
_LENGTHS = (10, 10, 10, 10)
_DRAWN = {"scheme": "cases", "baselineDays": [[6, 9], [12, 15], [18, 21]]}

Lose = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""Which days have no value, from the values and whether each is a treatment day."""


def none(values: np.ndarray, _: np.ndarray, __: np.random.Generator) -> np.ndarray:
    return np.zeros(values.size, dtype=bool)


def tenth(values: np.ndarray, _: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return generator.random(values.size) < 0.1  # type: ignore[no-any-return]


def lowest(share: float) -> Lose:
    def lose(values: np.ndarray, treated: np.ndarray, _: np.random.Generator) -> np.ndarray:
        days = np.flatnonzero(treated)
        lost = np.zeros(values.size, dtype=bool)
        lost[days[np.argsort(values[days])[: round(share * days.size)]]] = True
        return lost

    return lose


def with_days(extract: Extract, values: np.ndarray) -> Extract:
    present = np.flatnonzero(~np.isnan(values))
    times = [ORIGIN + int(day) * DAY_US + DAY_US // 2 for day in present]
    update = {"times_us": times, "values": values[present].tolist(), "labels": [None] * present.size}
    return extract.model_copy(update=update)


def multiple_baselines(number: int, lose: Lose, effect: float, rho: float = 0.3) -> Iterator[Analysis]:
    """Analyses of groups of three cases, each with a start that was drawn."""
    kind = KINDS["multiple_baseline"]
    for seed in range(number):
        generator = np.random.default_rng((seed, 5))
        windows = generator.permutation(3)
        starts = tuple(int(generator.integers(*(_DRAWN["baselineDays"][place]), endpoint=True)) for place in windows)  # type: ignore[misc]
        members = []
        for start, member in zip(starts, group(_DRAWN, starts).protocols, strict=True):
            treated = np.arange(_DAYS) >= start
            values = dependent_days(generator, _DAYS, 1, rho)[:, 0] + effect * treated
            values[lose(values, treated, generator)] = np.nan
            members.append(with_days(member, values))
        extract = GroupExtract(group="g", outcome="score", learners=["x"], protocols=members)
        yield kind.analyse(extract, MultipleBaselineParameters(), BASIS)


def combinations(number: int, lose: Lose, effect: float, rho: float = 0.3) -> Iterator[tuple[Analysis, float]]:
    """Analyses of groups of three experiments, beside the p of all their tests, whatever days they lack."""
    lengths = [row for row in np.ndindex(9, 9, 9, 9) if sum(row) == sum(_LENGTHS) - 24]
    for seed in range(number):
        generator = np.random.default_rng((seed, 6))
        records, members = {}, []
        for place in range(3):
            drawn = [6 + more for more in lengths[generator.integers(len(lengths))]]
            treated = np.repeat([False, True, False, True], drawn)
            values = dependent_days(generator, treated.size, 1, rho)[:, 0] + effect * treated
            values[lose(values, treated, generator)] = np.nan
            member = with_days(switching(drawn, (0, 0, 0, 0), [0.0] * 4 * treated.size, (6, 14)), values)
            protocol = member.protocol.model_copy(update={"protocol_id": f"p{place}", "learner": f"l{place}"})
            analysis = KINDS["abab_randomization"].analyse(
                member.model_copy(update={"protocol": protocol}), AbabParameters(improvement="increase"), BASIS
            )
            record = {"results": analysis.results, "verdict": analysis.verdict, "config": {}}
            records[f"p{place}"] = record | {"standing": {"label": "planned"}}
            members.append(planned(member.model_copy(update={"protocol": protocol}), group="g"))
        extract = CombinedExtract(group="g", outcome="score", learners=["x"], protocols=members, tests=[])
        extract = extract.with_records(lambda name, own=records: [(name[-1] * 64, own[name])])  # type: ignore[misc]
        counted = extract.model_copy(
            update={
                "tests": [
                    test.model_copy(update={"shares_differ": False, "verdict": "not shown"}) for test in extract.tests
                ]
            }
        )
        combined = KINDS["combined"].analyse
        every = combined(counted, CombinedParameters(), BASIS).numbers["p"]
        yield combined(extract, CombinedParameters(), BASIS), float(every or 1)


def is_said(analysis: Analysis) -> bool:
    """Whether an effect is said."""
    return analysis.verdict not in {"not shown", "no verdict"}


@pytest.mark.slow
def test_a_multiple_baseline_says_no_effect_that_missing_days_make() -> None:
    number = 150
    by_chance = [is_said(analysis) for analysis in multiple_baselines(number, tenth, 0)]
    selected = list(multiple_baselines(number, lowest(0.4), 0))

    # .05 and three standard errors of so many groups.
    bound = 0.05 + 3 * np.sqrt(0.05 * 0.95 / number)
    assert np.mean(by_chance) <= bound
    assert np.mean([(analysis.numbers["p"] or 1) <= 0.05 for analysis in selected]) > bound, "the test alone finds it"
    assert not any(is_said(analysis) for analysis in selected)
    effects = list(multiple_baselines(60, tenth, 2))
    rejected = sum((analysis.numbers["p"] or 1) <= 0.05 for analysis in effects)
    assert sum(is_said(analysis) for analysis in effects) >= 0.8 * rejected >= 0.5 * len(effects)


@pytest.mark.slow
def test_a_combination_says_no_effect_that_missing_days_make() -> None:
    number = 100
    by_chance = [is_said(analysis) for analysis, _ in combinations(number, tenth, 0)]
    selected = list(combinations(number, lowest(0.2), 0))

    bound = 0.05 + 3 * np.sqrt(0.05 * 0.95 / number)
    assert np.mean(by_chance) <= bound
    assert np.mean([p <= 0.05 for _, p in selected]) > bound, "all tests together find it"
    assert np.mean([is_said(analysis) for analysis, _ in selected]) <= bound
