"""Change points: found where they are, and marked as unsure elsewhere."""

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.changepoint_search import change_points


def series(*levels: float, size: int = 25, seed: int = 1) -> np.ndarray:
    return np.repeat(levels, size) + np.random.default_rng(seed).normal(size=size * len(levels))


def test_changes_are_found_at_their_day_though_days_are_missing() -> None:
    values = series(0, 6, -3)
    values[[3, 30, 31, 60]] = np.nan

    changes = change_points(values)

    assert changes.days == (25, 50)
    assert changes.levels == pytest.approx((0, 6, -3), abs=0.6)
    assert changes.min_size == 7
    assert changes.penalty == pytest.approx(3 * changes.noise**2 * np.log(71))
    assert changes.noise == pytest.approx(1, abs=0.3), "hardly touched by the changes"


def test_a_level_series_has_none_and_more_appear_as_the_penalty_falls() -> None:
    changes = change_points(series(5, size=60))

    assert changes.days == ()
    assert [len(days) for days in changes.sensitivity.values()] == sorted(
        (len(days) for days in changes.sensitivity.values()), reverse=True
    )
    assert "Exploration" in changes.note
    assert change_points(series(0, size=150, seed=4)).noise == pytest.approx(1, abs=0.15)
    assert change_points(np.ones(30)).days == ()


@pytest.mark.parametrize("constant", [0.1, 70.1, 200 / 3])
def test_rounding_is_no_change_of_level(constant: float) -> None:
    changes = change_points(np.full(30, constant))

    assert (changes.days, changes.noise) == ((), 0)
    assert not any(changes.sensitivity.values())


def test_a_change_is_found_where_most_days_equal_the_one_before() -> None:
    changes = change_points(np.repeat([0.0, 5.0], 10))

    assert (changes.days, changes.levels, changes.noise) == ((10,), (0, 5), 2.5)


def test_segments_have_the_size_they_must_have() -> None:
    values = series(0, size=60)
    values[30:33] += 50

    days = change_points(values, min_size=5, factor=1).days

    assert all(later - earlier >= 5 for earlier, later in zip((0, *days), (*days, 60), strict=True))


def test_too_few_days_are_told() -> None:
    with pytest.raises(AnalysisError, match=r"13 days .* \(14 are needed\)"):
        change_points(np.r_[np.arange(13.0), np.nan])


@pytest.mark.slow
@pytest.mark.parametrize(("autocorrelation", "rate"), [(0.3, (0.18, 0.38)), (0.5, (0.5, 0.8))])
def test_what_the_note_says_of_false_alarms_is_what_is_measured(
    autocorrelation: float, rate: tuple[float, float]
) -> None:
    generator = np.random.default_rng(6)
    alarms = 0
    for _ in range(300):
        days = np.zeros(56)
        for day in range(1, 56):
            days[day] = autocorrelation * days[day - 1] + generator.normal()
        alarms += bool(change_points(days).days)

    print(f"change points, 56 days, AR(1) {autocorrelation}: {alarms} of 300")  # noqa: T201
    assert rate[0] < alarms / 300 < rate[1]
