"""What visual analysis looks at, by hand; and its figure and tables of a whole protocol."""

import numpy as np
import pytest

from americano_pipelines.analysis.abab import analyse_abab
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.html_report import render_report
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.statistics.overlap_measures import DatedValues
from americano_pipelines.statistics.phase_windows import Condition
from americano_pipelines.statistics.visual_columns import COLUMNS
from americano_pipelines.statistics.visual_features import PhaseDays, visual_features
from americano_pipelines_tests.analysis.examples import LATER, ONE, alternating, extract_of

BASELINE_1, TREATMENT_1 = [10.0, 12, 11, 13, 14], [20.0, 19, 21, 24, 26]
BASELINE_2, TREATMENT_2 = [16.0, 15, 17, 13], [22.0, 27, 26, 25]


def phases_of(*values: list[float]) -> list[PhaseDays]:
    conditions: list[Condition] = ["baseline", "treatment"]
    phases, start = [], 0
    for number, phase in enumerate(values):
        days = np.arange(start, start + len(phase))
        present = ~np.isnan(np.array(phase))
        dated = DatedValues(np.array(phase)[present], days[present])
        condition = conditions[number % 2]
        phases.append(PhaseDays(f"P{number}", condition, condition, dated, start, start + len(phase)))
        start += len(phase)
    return phases


def test_the_features_by_hand() -> None:
    features = visual_features(phases_of(BASELINE_1, TREATMENT_1, BASELINE_2, TREATMENT_2), "increase")
    first, second, third, _ = features.phases
    into, back, again = features.switches

    assert (first.mean, first.median, first.lowest, first.highest) == (12, 12, 10, 14)
    assert first.trend is not None
    assert (first.trend.slope, first.trend.start) == (pytest.approx(0.9), pytest.approx(10.2))
    # A day counts at its middle: the line is at 10.2 in the middle of the first day.
    assert first.trend.ends(first.phase) == pytest.approx((9.75, 14.25))
    assert first.envelope == (9, 15)
    assert (first.within, first.within_trend, first.stable) == (1, 1, True)
    assert (into.level, into.immediacy) == (pytest.approx(22 - 12), pytest.approx(20 - 38 / 3))
    assert into.variability == pytest.approx((second.sd or 0) / (first.sd or 1))
    assert into.trend == pytest.approx((second.trend.slope if second.trend else 0) - 0.9)
    assert (into.nap, into.pnd) == (1, 1)
    # The baseline's line carried on: 10.2 + 0.9 day on days 5 to 9.
    assert into.above_projection == pytest.approx(22 - (10.2 + 0.9 * 7))
    assert into.beyond_projection == 1
    # The last three days of treatment against the first three of the baseline that follows, treatment less baseline.
    assert (back.immediacy, back.level) == (pytest.approx(71 / 3 - 16), pytest.approx(22 - 15.25))
    assert (back.above_projection, back.beyond_projection) == (None, None)
    assert again.immediacy == pytest.approx(25 - 15)
    consistency = features.tables()["consistency"]
    assert [row["phases"] for row in consistency] == ["P0 and P2", "P1 and P3"]
    pooled = np.sqrt((4 * np.var(BASELINE_1, ddof=1) + 3 * np.var(BASELINE_2, ddof=1)) / 7)
    assert consistency[0]["level"] == pytest.approx(3.25)
    assert consistency[0]["level in sd"] == pytest.approx(3.25 / pooled)
    assert consistency[0]["slope"] == pytest.approx((third.trend.slope if third.trend else 0) - 0.9)


def test_a_phase_is_stable_when_four_of_five_days_are_near_its_median() -> None:
    stable = visual_features(phases_of([10, 10, 10, 12.5, 99], [1, 1]), "increase").phases[0]
    unstable = visual_features(phases_of([10, 10, 10, 12.6, 99], [1, 1]), "increase").phases[0]

    assert (stable.within, stable.stable) == (0.8, True)
    assert (unstable.within, unstable.stable) == (0.6, False)


def test_lower_is_better_where_that_is_declared() -> None:
    (switch,) = visual_features(phases_of(TREATMENT_1, BASELINE_1), "decrease").switches
    (worse,) = visual_features(phases_of(BASELINE_1, TREATMENT_1), "decrease").switches

    assert (switch.nap, switch.pnd, switch.beyond_projection) == (1, 1, 1)
    assert (worse.nap, worse.beyond_projection) == (0, 0)


@pytest.mark.parametrize("values", [[-1.0, 2, 3], [0.0, 0, 0, 1]])
def test_per_cents_of_what_has_no_true_zero_are_left_out(values: list[float]) -> None:
    phase = visual_features(phases_of(values, [1, 2]), "increase").phases[0]

    assert (phase.envelope, phase.within, phase.within_trend, phase.stable) == (None, None, None, None)


def test_few_days_and_days_without_a_value_leave_gaps() -> None:
    empty = visual_features(phases_of([1, 2, 3], [np.nan], [4, 5, 6], [7.0]), "increase")
    (last,) = empty.switches

    assert [phase.phase.label for phase in empty.phases] == ["P0", "P2", "P3"]
    assert (last.trend, last.variability, last.immediacy) == (None, None, None)
    assert last.above_projection == pytest.approx(0), "1, 2, 3 at days 4 to 6 goes on to 7"
    flat = visual_features(phases_of([3, 3, 3], [4, 5, 6]), "increase")
    assert flat.switches[0].variability is None
    assert flat.tables()["variability"][0]["sd"] == 0
    gap = visual_features(phases_of([2, np.nan, 6, 8], [1.0]), "increase").phases[0]
    assert gap.trend is not None
    assert (gap.trend.slope, gap.trend.start) == (pytest.approx(2), pytest.approx(2))


def test_a_protocol_has_them_in_its_record_its_figure_and_its_report() -> None:
    analysis = analyse_abab(
        observe(extract_of(ONE)), AbabParameters(direction="increase"), as_of_us=LATER, compliance="planned"
    )
    page = render_report(analysis, "Report", compliance="", parameters={}, provenance={})
    tables = analysis.results["visual analysis"]

    assert isinstance(tables, dict)
    assert {feature: tuple(rows[0]) for feature, rows in tables.items()} == COLUMNS  # type: ignore[arg-type, index]
    assert list(tables) == list(COLUMNS)
    effects = analysis.results["effects"]
    assert [row["NAP"] for row in tables["overlap"]] == [  # type: ignore[union-attr, index, call-overload]
        pair["overlap"]["nap"]  # type: ignore[call-overload, index]
        for pair in effects["pairs"]  # type: ignore[call-overload, index, union-attr]
    ]
    assert analysis.pictures["visual.png"].startswith(b"\x89PNG")
    assert "<h2>Visual analysis</h2>" in page
    assert "visual analysis, immediacy" in page
    # Wide tables stand on their side, so that they fit.
    assert "<tr><td>overlap.nap</td>" in page
    scheme = {"scheme": "days", "treatedDays": 1, "blockDays": 2}
    days = alternating("BTTBTBBTTBBT", list(np.arange(12.0)), scheme)
    without = analyse_abab(observe(days), AbabParameters(), as_of_us=LATER, compliance="planned")
    assert "visual analysis" not in without.results
    assert "visual.png" not in without.pictures
