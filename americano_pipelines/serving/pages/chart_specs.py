"""Describe the charts as Vega-Lite specifications.

Colours are CSS variables, which `chart_drawing` defines: one drawing serves light, dark and print. Treatment and
baseline also differ in shape, for readers who do not see hues.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from americano_pipelines.serving.pages.experiment_days import Day, Phase, PhaseLines

Spec = dict[str, Any]
WIDE, NARROW = 930, 320
# Pixels beside the days, and of a letter.
_MARGIN, _LETTER, _MIN_LETTERS = 60, 7.5, 3
_BASELINE, _TREATMENT, _INK, _SOFT, _GRID = (
    f"var(--{name})" for name in ("baseline", "treatment", "ink", "soft", "grid")
)
# Of the longest event types, which share their beginnings.
_TYPE_PIXELS = 180
_SPARSE: Spec = {"labelOverlap": True, "labelSeparation": 10}
_CONDITIONS = ["baseline", "treatment"]
_CONFIG: Spec = {
    "background": "transparent",
    "aria": False,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": _INK, "titleColor": _INK, "domainColor": _SOFT, "tickColor": _SOFT, "gridColor": _GRID,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 130,
    },
}  # fmt: skip


def series_chart(
    days: Sequence[Day], phases: Sequence[Phase], lines: Sequence[PhaseLines], outcome: str, width: int
) -> Spec:
    """The days of an experiment with its phases; for one that is over also level, trend and variability of each phase.

    Args:
        days: its days.
        phases: its phases.
        lines: of each phase, empty as long as the experiment runs.
        outcome: name of the values.
        width: in pixels.
    """
    height, end = 280 if width == WIDE else 220, max([phase.end for phase in phases] + [day.number + 1 for day in days])
    x = {
        "type": "quantitative",
        "scale": {"domain": [0, end], "nice": False},
        "axis": {"title": "day since the first phase began", "grid": False, "tickMinStep": 1, "tickCount": width // 70},
    }
    y = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": outcome, "tickCount": 5}}
    fill = _by_condition(["var(--baseline-band)", "var(--treatment-band)"])
    layers: list[Spec] = [
        {
            "data": {"values": [_band(phase) for phase in phases]},
            "mark": {"type": "rect", "tooltip": None},
            "encoding": {"x": {**x, "field": "first"}, "x2": {"field": "end"}, "color": fill},
        },
        {
            "data": {"values": [{"at": phase.first} for phase in phases if phase.first > 0]},
            "mark": {"type": "rule", "color": _SOFT, "strokeDash": [4, 3]},
            "encoding": {"x": {**x, "field": "at"}},
        },
    ]
    pixels = (width - _MARGIN) / end
    layers.append(
        {
            "data": {"values": [_band(phase) | {"label": _fitting(phase, pixels)} for phase in phases]},
            "mark": {"type": "text", "baseline": "bottom", "fontSize": 12, "fill": _INK},
            "encoding": {"x": {**x, "field": "middle"}, "y": {"value": -4}, "text": {"field": "label"}},
        }
    )
    shown = [
        {"at": day.number + 0.5, "value": day.value, "phase": day.phase_number, "condition": day.condition}
        for day in days
        if day.phase_number is not None
    ]
    layers += [
        {
            "data": {"values": shown},
            "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.6},
            "encoding": {
                "x": {**x, "field": "at"},
                "y": {**y, "field": "value"},
                "detail": {"field": "phase"},
                "color": _by_condition([_BASELINE, _TREATMENT]),
            },
        },
        {
            "data": {"values": [day for day in shown if day["value"] is not None]},
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
            "encoding": {
                "x": {**x, "field": "at"},
                "y": {**y, "field": "value"},
                "color": _by_condition([_BASELINE, _TREATMENT]),
                "shape": {
                    "field": "condition",
                    "type": "nominal",
                    "scale": {"domain": _CONDITIONS, "range": ["circle", "square"]},
                    "legend": None,
                },
            },
        },
        *_phase_lines(lines, x, y),
        {
            "data": {"values": [{"at": day.number + 0.5} for day in days if day.left_out is not None]},
            "mark": {"type": "rule", "color": _INK, "strokeWidth": 1.5},
            "encoding": {"x": {**x, "field": "at"}, "y": {"value": height - 9}, "y2": {"value": height}},
        },
    ]
    return _chart(layers, width, height)


def _phase_lines(lines: Sequence[PhaseLines], x: Spec, y: Spec) -> list[Spec]:
    """Level (thick), trend (dashed) and the lowest and highest day (dotted) of each phase."""
    color = _by_condition([_BASELINE, _TREATMENT])

    def segments(name: str, rows: list[Spec], **mark: Any) -> Spec:  # noqa: ANN401 - Vega-Lite
        return {
            "name": name,
            "data": {"values": rows},
            "mark": {"type": "rule", **mark},
            "encoding": {
                "x": {**x, "field": "first"},
                "x2": {"field": "end"},
                "y": {**y, "field": "from"},
                "y2": {"field": "to"},
                "color": color,
            },
        }

    def rows(line: PhaseLines, start: float, end: float) -> Spec:
        return {"first": line.first, "end": line.end, "condition": line.condition, "from": start, "to": end}

    levels = [rows(line, line.level, line.level) for line in lines]
    trends = [rows(line, *line.trend) for line in lines if line.trend is not None]
    ranges = [rows(line, value, value) for line in lines for value in (line.lowest, line.highest)]
    return [
        segments("range", ranges, strokeDash=[1, 3], strokeWidth=1.2),
        segments("trend", trends, strokeDash=[6, 4], strokeWidth=1.6),
        segments("level", levels, strokeWidth=3),
    ]


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
        bars.append({"first": first, "end": end, "count": count, "condition": _CONDITIONS[extreme]})
    ends = (test["edges"][0], test["edges"][-1], observed)
    margin = (max(ends) - min(ends) or 1) * 0.02
    x = {
        "type": "quantitative",
        "scale": {"domain": [min(ends) - margin, max(ends) + margin], "nice": False},
        "axis": {"title": unit, "grid": False, "tickCount": width // 80},
    }
    extreme_only = {"condition": {"test": "datum.condition === 'treatment'", "value": 3}, "value": 0}
    return _chart(
        [
            {
                "data": {"values": [{"at": observed}]},
                "mark": {"type": "rule", "color": _INK, "strokeWidth": 2.5},
                "encoding": {"x": {**x, "field": "at"}},
            },
            {
                "data": {"values": bars},
                "mark": {"type": "rect", "opacity": 0.85, "stroke": _TREATMENT},
                "encoding": {
                    "x": {**x, "field": "first"},
                    "x2": {"field": "end"},
                    "y": {"field": "count", "type": "quantitative", "axis": {"title": "assignments", "tickCount": 4}},
                    "y2": {"datum": 0},
                    # One assignment among thousands has a bar of no height: its outline shows all the same.
                    "strokeWidth": extreme_only,
                    "color": _by_condition([_BASELINE, _TREATMENT]),
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
    return _chart(
        [
            {"mark": {"type": "rule", "color": _SOFT, "strokeDash": [4, 3]}, "encoding": {"x": {**x, "field": "none"}}},
            {
                "mark": {"type": "rule", "color": _INK, "strokeWidth": 2},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 110, "color": _TREATMENT, "opacity": 1},
                "encoding": {"x": {**x, "field": "effect"}},
            },
        ],
        width,
        34,
        data={"values": [row]},
    )


def overlay_chart(series: Sequence[Sequence[Day]], outcome: str, width: int) -> Spec:
    """The days of two experiments, each counted from its own beginning.

    Args:
        series: the days of both.
        outcome: name of the values.
        width: in pixels.
    """
    rows = [
        {"at": day.number + 0.5, "value": day.value, "which": "AB"[place]}
        for place, days in enumerate(series)
        for day in days
        if day.phase_number is not None
    ]
    scale = {"domain": ["A", "B"], "range": [_BASELINE, _TREATMENT]}
    encoding: Spec = {
        "x": {
            "field": "at",
            "type": "quantitative",
            "axis": {"title": "day since the first phase began", "grid": False, "tickCount": width // 70},
        },
        "y": {
            "field": "value",
            "type": "quantitative",
            "scale": {"zero": False},
            "axis": {"title": outcome, "tickCount": 5},
        },
        "color": {"field": "which", "type": "nominal", "scale": scale, "legend": None},
    }
    shape = {
        "field": "which",
        "type": "nominal",
        "scale": {"domain": ["A", "B"], "range": ["circle", "square"]},
        "legend": None,
    }
    points = [row for row in rows if row["value"] is not None]
    return _chart(
        [
            {"data": {"values": rows}, "mark": {"type": "line", "strokeWidth": 1.2, "opacity": 0.7},
             "encoding": encoding},
            {"data": {"values": points}, "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
             "encoding": {**encoding, "shape": shape}},
        ],
        width,
        260,
    )  # fmt: skip


def rows_by_day_chart(days: Sequence[Mapping[str, Any]], window: tuple[date, date], width: int) -> Spec:
    """Rows of each day (UTC).

    Args:
        days: `day` as YYYY-MM-DD and `events`.
        window: the first and the last day; one without rows shows as a gap.
        width: in pixels.
    """
    return _chart(
        [
            {
                "mark": {"type": "bar", "color": _BASELINE},
                "encoding": {
                    "x": {
                        "field": "day",
                        "timeUnit": "utcyearmonthdate",
                        "type": "temporal",
                        "scale": {"domain": [_moment(window[0]), _moment(window[1] + timedelta(days=1))]},
                        "axis": {"title": None, "grid": False, "format": "%d %b", "tickCount": width // 90},
                    },
                    "y": {"field": "events", "type": "quantitative", "axis": {"title": "events", "tickCount": 4}},
                },
            }
        ],
        width,
        160,
        data={"values": [{"day": f"{row['day']}T00:00:00Z", "events": row["events"]} for row in days]},
    )


def events_by_type_chart(days: Sequence[Mapping[str, Any]], width: int) -> Spec:
    """Events of one learner: a dot for each day and type, the larger the more.

    Args:
        days: `day`, `event_type` and `events`.
        width: in pixels.
    """
    rows = [
        {"day": f"{row['day']}T00:00:00Z", "type": row["event_type"] or "no type", "events": row["events"]}
        for row in days
    ]
    kinds = len({row["type"] for row in rows})
    return _chart(
        [
            {
                "mark": {"type": "circle", "color": _BASELINE, "opacity": 0.75},
                "encoding": {
                    "x": {
                        "field": "day",
                        "timeUnit": "utcyearmonthdate",
                        "type": "temporal",
                        "axis": {"title": None, "grid": False, "format": "%d %b %y", **_SPARSE},
                    },
                    "y": {
                        "field": "type",
                        "type": "nominal",
                        "axis": {"title": None, "grid": True, "labelLimit": max(width // 3, _TYPE_PIXELS)},
                    },
                    "size": {
                        "field": "events",
                        "type": "quantitative",
                        "legend": None,
                        "scale": {"range": [6, 90]},
                    },
                },
            }
        ],
        width,
        24 * max(kinds, 2),
        data={"values": rows},
    )


def _moment(day: date) -> Spec:
    return {"year": day.year, "month": day.month, "date": day.day, "utc": True}


def _band(phase: Phase) -> Spec:
    middle = (phase.first + phase.end) / 2
    return {
        "first": phase.first, "end": phase.end, "middle": middle, "condition": phase.condition
    }  # fmt: skip


def _fitting(phase: Phase, pixels: float) -> str:
    """As much of a phase's label as fits above it; nothing where that says nothing."""
    letters = int(phase.days * pixels / _LETTER)
    if len(phase.label) <= letters:
        return phase.label
    return f"{phase.label[: letters - 1]}…" if letters >= _MIN_LETTERS else ""


def _by_condition(colours: list[str]) -> Spec:
    return {
        "field": "condition",
        "type": "nominal",
        "scale": {"domain": _CONDITIONS, "range": colours},
        "legend": None,
    }


def _chart(layers: list[Spec], width: int, height: int, **more: Any) -> Spec:  # noqa: ANN401 - Vega-Lite
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": width,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 4,
        "resolve": {"scale": {"color": "independent", "shape": "independent"}},
        "layer": layers,
        "config": _CONFIG,
        **more,
    }
