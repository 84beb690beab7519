"""Describe the charts of the days of experiments."""

from collections.abc import Sequence
from typing import Any

from americano_pipelines.serving.pages.chart_frame import (
    BASELINE,
    CONDITIONS,
    INK,
    SOFT,
    TREATMENT,
    WIDE,
    Spec,
    by_condition,
    chart,
)
from americano_pipelines.serving.pages.experiment_days import Day, Phase, PhaseLines

# Pixels beside the days, and of a letter.
_MARGIN, _LETTER, _MIN_LETTERS = 60, 7.5, 3


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
    fill = by_condition(["var(--baseline-band)", "var(--treatment-band)"])
    layers: list[Spec] = [
        {
            "data": {"values": [_band(phase) for phase in phases]},
            "mark": {"type": "rect", "tooltip": None},
            "encoding": {"x": {**x, "field": "first"}, "x2": {"field": "end"}, "color": fill},
        },
        {
            "data": {"values": [{"at": phase.first} for phase in phases if phase.first > 0]},
            "mark": {"type": "rule", "color": SOFT, "strokeDash": [4, 3]},
            "encoding": {"x": {**x, "field": "at"}},
        },
    ]
    pixels = (width - _MARGIN) / end
    layers.append(
        {
            "data": {"values": [_band(phase) | {"label": _fitted_label(phase, pixels)} for phase in phases]},
            "mark": {"type": "text", "baseline": "bottom", "fontSize": 12, "fill": INK},
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
                "color": by_condition([BASELINE, TREATMENT]),
            },
        },
        {
            "data": {"values": [day for day in shown if day["value"] is not None]},
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
            "encoding": {
                "x": {**x, "field": "at"},
                "y": {**y, "field": "value"},
                "color": by_condition([BASELINE, TREATMENT]),
                "shape": {
                    "field": "condition",
                    "type": "nominal",
                    "scale": {"domain": CONDITIONS, "range": ["circle", "square"]},
                    "legend": None,
                },
            },
        },
        *_phase_lines(lines, x, y),
        {
            "data": {"values": [{"at": day.number + 0.5} for day in days if day.left_out is not None]},
            "mark": {"type": "rule", "color": INK, "strokeWidth": 1.5},
            "encoding": {"x": {**x, "field": "at"}, "y": {"value": height - 9}, "y2": {"value": height}},
        },
    ]
    return chart(layers, width, height)


def _phase_lines(lines: Sequence[PhaseLines], x: Spec, y: Spec) -> list[Spec]:
    """Level (thick), trend (dashed) and the lowest and highest day (dotted) of each phase."""
    color = by_condition([BASELINE, TREATMENT])

    def segments(name: str, rows: list[Spec], **style: Any) -> Spec:  # noqa: ANN401 - Vega-Lite
        return {
            "name": name,
            "data": {"values": rows},
            "mark": {"type": "rule", **style},
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


def overlay_chart(series: Sequence[Sequence[Day]], outcome: str, width: int) -> Spec:
    """The days of two experiments, each counted from its own beginning.

    Args:
        series: the days of both.
        outcome: name of the values.
        width: in pixels.
    """
    rows = [
        {"at": day.number + 0.5, "value": day.value, "which": "AB"[index]}
        for index, days in enumerate(series)
        for day in days
        if day.phase_number is not None
    ]
    scale = {"domain": ["A", "B"], "range": [BASELINE, TREATMENT]}
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
    return chart(
        [
            {"data": {"values": rows}, "mark": {"type": "line", "strokeWidth": 1.2, "opacity": 0.7},
             "encoding": encoding},
            {"data": {"values": points}, "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
             "encoding": {**encoding, "shape": shape}},
        ],
        width,
        260,
    )  # fmt: skip


def _band(phase: Phase) -> Spec:
    middle = (phase.first + phase.end) / 2
    return {
        "first": phase.first, "end": phase.end, "middle": middle, "condition": phase.condition
    }  # fmt: skip


def _fitted_label(phase: Phase, pixels: float) -> str:
    """As much of a phase's label as fits above it; nothing where fewer than three letters fit."""
    letters = int(phase.days * pixels / _LETTER)
    if len(phase.label) <= letters:
        return phase.label
    return f"{phase.label[: letters - 1]}…" if letters >= _MIN_LETTERS else ""
