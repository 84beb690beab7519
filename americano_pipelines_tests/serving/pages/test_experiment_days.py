"""The lines by which people judge a phase by eye, and which side of a distribution is extreme."""

from datetime import UTC, datetime
from typing import Any

import pytest

from americano_pipelines.serving.pages.analysis_view import randomization_test
from americano_pipelines.serving.pages.chart_frame import NARROW, WIDE
from americano_pipelines.serving.pages.experiment_charts import series_chart
from americano_pipelines.serving.pages.experiment_days import days_of, end_of, lines_of, phases_of
from americano_pipelines.serving.pages.result_charts import distribution_chart

INSTANT = datetime(2025, 1, 7, 12, tzinfo=UTC)


def _rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    phases = [
        {"phase": label, "phase_type": kind, "starts_at": f"2025-01-0{first}T00:00:00Z",
         "ends_at": f"2025-01-0{end}T00:00:00Z", "planned_days": 4}
        for label, kind, first, end in (("base", "BASELINE", 1, 5), ("help", "INTERVENTION_A", 5, 9))
    ]  # fmt: skip
    values = [2.0, 4.0, None, 8.0, 10.0, 11.0, 12.0, 13.0]
    days = [
        {"day": number, "starts_at": f"2025-01-0{number + 1}T00:00:00Z", "value": value, "events": 1,
         "phase": "base" if number < 4 else "help", "condition": "baseline" if number < 4 else "treatment",
         "left_out": None if value is not None else "no event of this day has an outcome"}
        for number, value in enumerate(values)
    ]  # fmt: skip
    return phases, days


def test_level_trend_and_range_of_a_phase() -> None:
    phase_rows, day_rows = _rows()
    phases = phases_of(phase_rows)
    days = days_of(day_rows, phases, datetime(2025, 2, 1, tzinfo=UTC))

    base, treatment = lines_of(days, phases)

    assert (base.level, base.lowest, base.highest, base.days) == (pytest.approx(14 / 3), 2.0, 8.0, 3)
    assert base.trend == pytest.approx((1.0, 9.0))  # 2 a day through (0.5, 2), (1.5, 4), (3.5, 8)
    assert (treatment.first, treatment.end, treatment.condition) == (4.0, 8.0, "treatment")
    assert treatment.trend == pytest.approx((9.5, 13.5))


def test_days_that_are_not_over_are_not_left_out() -> None:
    phase_rows, day_rows = _rows()
    days = days_of(day_rows, phases_of(phase_rows), INSTANT)

    assert [day.number for day in days] == [0, 1, 2, 3, 4, 5]
    assert [day.number for day in days if day.left_out] == [2]


def test_phases_without_an_end_are_left_out() -> None:
    phase_rows, _ = _rows()
    assert phases_of([{**phase_rows[0], "ends_at": None}, {**phase_rows[1], "ends_at": "infinity"}]) == []


@pytest.mark.parametrize("end", [None, "infinity"])
def test_an_experiment_with_a_phase_without_an_end_is_not_over(end: str | None) -> None:
    phase_rows, _ = _rows()
    protocol = {"ends_at": "2025-01-09T00:00:00Z"}

    assert end_of(protocol, phase_rows) == end_of(protocol, []) == datetime(2025, 1, 9, tzinfo=UTC)
    assert end_of(protocol, [phase_rows[1], {**phase_rows[0], "ends_at": end}]) is None


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_lines_are_drawn_only_where_they_come(width: int) -> None:
    phase_rows, day_rows = _rows()
    phases = phases_of(phase_rows)
    days = days_of(day_rows, phases, INSTANT)

    def drawn(lines: list[Any]) -> dict[str, int]:
        layers = series_chart(days, phases, lines, "score", width)["layer"]
        return {layer["name"]: len(layer["data"]["values"]) for layer in layers if "name" in layer}

    assert drawn(lines_of(days, phases)) == {"range": 4, "trend": 1, "level": 2}
    assert drawn([]) == {"range": 0, "trend": 0, "level": 0}


@pytest.mark.parametrize(
    ("direction", "observed", "higher"),
    [("increase", -1.5, True), ("decrease", 1.5, False), (None, 1.5, True), (None, -1.5, False)],
)
def test_the_extreme_side_is_the_declared_one_else_the_rarer(
    direction: str | None, observed: float, *, higher: bool
) -> None:
    test = {"edges": [-2, -1, 0, 1, 2], "counts": [5, 20, 20, 5], "observed": observed, "direction": direction}

    shown = randomization_test(test)

    assert shown is not None
    assert shown["higher"] is higher
    assert randomization_test({"why": "nothing was randomized"}) is None


@pytest.mark.parametrize(
    ("direction", "observed", "edges", "counts"),
    [
        ("increase", 2, [-2, -1, 0, 1, 2, 3], [5, 20, 20, 4, 1]),
        ("decrease", -2, [-3, -2, -1, 0, 1, 2], [1, 4, 20, 20, 5]),
    ],
)
def test_the_most_extreme_value_of_all_has_a_bin(
    direction: str, observed: float, edges: list[float], counts: list[int]
) -> None:
    """The outermost bin of the record also has less extreme assignments, and no bar was shown as extreme."""
    test = {"edges": [-2, -1, 0, 1, 2], "counts": [5, 20, 20, 5], "observed": observed, "direction": direction}

    shown = randomization_test({**test, "as_extreme": 1})

    assert shown is not None
    assert (shown["edges"], shown["counts"]) == (edges, counts)
    bars = distribution_chart(shown, "difference", WIDE)["layer"][1]["data"]["values"]
    assert sum(bar["count"] for bar in bars if bar["condition"] == "treatment") == 1
