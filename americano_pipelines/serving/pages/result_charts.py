"""Describe the charts of a result: the randomization distribution, and the effect with its interval."""

from collections.abc import Mapping
from typing import Any

from americano_pipelines.serving.pages.chart_frame import (
    BASELINE,
    CONDITIONS,
    INK,
    SOFT,
    TREATMENT,
    Spec,
    by_condition,
    chart,
)


def distribution_chart(test: Mapping[str, Any], unit: str, width: int) -> Spec:
    """The statistic under every possible assignment, and the observed one.

    Args:
        test: edges and counts of the bins, the observed value and `higher`: whether higher values are as extreme.
        unit: name of the statistic.
        width: in pixels.
    """
    height, observed = 200, test["observed"]
    bars = []
    for first, end, count in zip(test["edges"], test["edges"][1:], test["counts"], strict=False):
        middle = (first + end) / 2
        extreme = middle >= observed if test["higher"] else middle <= observed
        bars.append({"first": first, "end": end, "count": count, "condition": CONDITIONS[extreme]})
    ends = (test["edges"][0], test["edges"][-1], observed)
    margin = (max(ends) - min(ends) or 1) * 0.02
    x = {
        "type": "quantitative",
        "scale": {"domain": [min(ends) - margin, max(ends) + margin], "nice": False},
        "axis": {"title": unit, "grid": False, "tickCount": width // 80},
    }
    extreme_only = {"condition": {"test": "datum.condition === 'treatment'", "value": 3}, "value": 0}
    return chart(
        [
            {
                "data": {"values": [{"at": observed}]},
                "mark": {"type": "rule", "color": INK, "strokeWidth": 2.5},
                "encoding": {"x": {**x, "field": "at"}},
            },
            {
                "data": {"values": bars},
                "mark": {"type": "rect", "opacity": 0.85, "stroke": TREATMENT},
                "encoding": {
                    "x": {**x, "field": "first"},
                    "x2": {"field": "end"},
                    "y": {"field": "count", "type": "quantitative", "axis": {"title": "assignments", "tickCount": 4}},
                    "y2": {"datum": 0},
                    # One assignment among thousands has a bar of no height: its outline shows all the same.
                    "strokeWidth": extreme_only,
                    "color": by_condition([BASELINE, TREATMENT]),
                },
            },
        ],
        width,
        height,
    )


def effect_chart(effect: float, low: float | None, high: float | None, unit: str, width: int) -> Spec:
    """An effect with its interval beside no effect; an end of the interval that is unbounded is not drawn.

    Args:
        effect: in units of the outcome.
        low: lower end of the interval, None where it is unbounded.
        high: upper end, likewise.
        unit: name of the effect.
        width: in pixels.
    """
    values = [value for value in (0.0, effect, low, high) if value is not None]
    margin = (max(values) - min(values) or 1) * 0.08
    x = {
        "type": "quantitative",
        "scale": {"domain": [min(values) - margin, max(values) + margin], "nice": False},
        "axis": {"title": unit, "grid": False, "tickCount": width // 80},
    }
    row = {
        "effect": effect,
        "low": min(values) - margin if low is None else low,
        "high": max(values) + margin if high is None else high,
        "none": 0,
    }
    return chart(
        [
            {"mark": {"type": "rule", "color": SOFT, "strokeDash": [4, 3]}, "encoding": {"x": {**x, "field": "none"}}},
            {
                "mark": {"type": "rule", "color": INK, "strokeWidth": 2},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 110, "color": TREATMENT, "opacity": 1},
                "encoding": {"x": {**x, "field": "effect"}},
            },
        ],
        width,
        34,
        data={"values": [row]},
    )
