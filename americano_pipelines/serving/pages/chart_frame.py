"""Define what all charts share: sizes, colours and the frame of a Vega-Lite specification."""

# Colours are CSS variables, which `chart_drawing` defines: one drawing serves light, dark and print. Treatment and
# baseline also differ in shape, for readers who do not see hues.

from typing import Any

Spec = dict[str, Any]
WIDE, NARROW = 930, 320
BASELINE, TREATMENT, INK, SOFT, _GRID = (f"var(--{name})" for name in ("baseline", "treatment", "ink", "soft", "grid"))
CONDITIONS = ["baseline", "treatment"]
_CONFIG: Spec = {
    "background": "transparent",
    "aria": False,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "domainColor": SOFT, "tickColor": SOFT, "gridColor": _GRID,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 130,
    },
}  # fmt: skip


def by_condition(colours: list[str]) -> Spec:
    """The colour of a condition: that of the baseline, then that of the treatment."""
    return {
        "field": "condition",
        "type": "nominal",
        "scale": {"domain": CONDITIONS, "range": colours},
        "legend": None,
    }


def chart(layers: list[Spec], width: int, height: int, **more: Any) -> Spec:  # noqa: ANN401 - Vega-Lite
    """A specification of layers over each other; `more` is its data where all layers share them."""
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
