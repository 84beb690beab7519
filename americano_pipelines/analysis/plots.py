"""Draw the days of an analysis as PNG, with phases and fitted lines.

Compute only what the drawing needs.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome
from americano_pipelines.text_output import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Colours that differ in lightness too, for readers who do not see hues and for print.
BASELINE, TREATMENT, INK, SOFT = "#5b6c7d", "#c8642b", "#222222", "#8a8a8a"
_DPI = 130


def new_axes(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure with empty axes; width and height in inches."""
    # Not pyplot: it keeps every figure of a long-lived process, and needs a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def png(figure: "Figure") -> bytes:
    """The figure as a PNG file."""
    from matplotlib.text import Text

    # A dollar sign in the name of a protocol or phase begins no formula.
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        if (shown := visible(text.get_text())) != text.get_text():
            text.set_text(shown)
    stream = io.BytesIO()
    # Without the program's version in it, so that the same figure has the same bytes.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


@dataclass(frozen=True)
class Band:
    """A phase in a figure.

    Attributes:
        label: its label.
        treated: whether it counts as treatment.
        first: its first day, counted from 0; a fraction when it does not begin with a day.
        end: the day on which it ends, exclusive.
        criterion: what the outcome is to reach in it, None where nothing is set.
        tolerance: how far from the criterion a day conforms.
    """

    label: str
    treated: bool
    first: float
    end: float
    criterion: float | None = None
    tolerance: float = 0.0


def draw_phases(
    values: NDArray[np.float64],
    bands: Sequence[Band],
    excluded: Sequence[int],
    *,
    outcome: str,
    title: str,
    marked: Sequence[int] = (),
) -> bytes:
    """Draw days and their values, phase means, switches, gaps and days left out.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        bands: the phases.
        excluded: days that were left out because a phase switches within them.
        outcome: name of the values.
        title: title of the figure.
        marked: days to mark, such as change points.
    """
    figure, axes = new_axes(8.4, 4.2)
    days = np.arange(values.size)
    for day in marked:
        axes.axvline(day, color=INK, linewidth=1.6)
    for band in bands:
        colour = TREATMENT if band.treated else BASELINE
        axes.axvspan(band.first, band.end, color=colour, alpha=0.07, linewidth=0)
        axes.axvline(band.end, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
        inside = (days + 0.5 > band.first) & (days + 0.5 < band.end)
        shown = inside & ~np.isnan(values)
        if shown.any():
            mean = float(values[shown].mean())
            axes.hlines(mean, band.first, band.end, color=colour, linewidth=2.2, zorder=3)
            axes.annotate(
                format_outcome(mean, max(0, decimals_for((mean, float(np.nanmax(np.abs(values))))) - 1)),
                (band.end, mean),
                textcoords="offset points",
                xytext=(-4, 4),
                ha="right",
                color=colour,
                bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1},
                zorder=4,
            )
        # NaN breaks the line, so that gaps show.
        axes.plot(days[inside] + 0.5, values[inside], color=colour, linewidth=0.9, marker="o", markersize=3.6)
        axes.annotate(
            band.label,
            ((band.first + band.end) / 2, 1.015),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            color=colour,
            fontsize=9,
        )
    for band in bands:
        if band.criterion is not None:
            low, high = band.criterion - band.tolerance, band.criterion + band.tolerance
            axes.hlines(band.criterion, band.first, band.end, color=INK, linewidth=1.2, linestyle=(0, (1, 1)), zorder=3)
            axes.fill_between((band.first, band.end), low, high, color=INK, alpha=0.08, linewidth=0)
    if any(band.criterion is not None for band in bands):
        axes.plot([], [], color=INK, linewidth=1.2, linestyle=(0, (1, 1)), label="criterion")
    missing = [day for day in days[np.isnan(values)] if day not in set(excluded)]
    _ticks(axes, missing, SOFT, f"no value ({len(missing)})")
    _ticks(axes, excluded, INK, f"left out: a phase switches ({len(excluded)})")
    axes.set(xlabel="day since the first phase began", ylabel=outcome, xlim=(0, max(values.size, 1)))
    axes.set_title(title, loc="left", pad=20, fontsize=11)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower right", frameon=False, fontsize=8)  # inside it covered days
    return png(figure)


def draw_lines(
    values: NDArray[np.float64],
    bands: Sequence[Band],
    fitted: NDArray[np.float64],
    counterfactual: NDArray[np.float64],
    *,
    outcome: str,
    title: str,
) -> bytes:
    """Draw days, the line of each phase, and the extension of the first phase's line.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        bands: the phases.
        fitted: the lines, NaN on days of no phase; shape (days,).
        counterfactual: the first phase's line; shape (days,).
        outcome: name of the values.
        title: title of the figure.
    """
    figure, axes = new_axes(8.4, 4.2)
    middle = np.arange(values.size) + 0.5
    axes.plot(middle, counterfactual, color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)), label="first phase carried on")
    for band in bands:
        colour = TREATMENT if band.treated else BASELINE
        inside = (middle > band.first) & (middle < band.end)
        axes.axvspan(band.first, band.end, color=colour, alpha=0.07, linewidth=0)
        axes.plot(middle[inside], values[inside], "o", color=colour, markersize=3.6)
        axes.plot(middle[inside], fitted[inside], color=colour, linewidth=2.2)
    axes.set(xlabel="day since the first phase began", ylabel=outcome, xlim=(0, max(values.size, 1)))
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(loc="outside lower right", frameon=False, fontsize=8)
    return png(figure)


def _ticks(axes: "Axes", days: Sequence[int], colour: str, label: str) -> None:
    if len(days):
        at = [day + 0.5 for day in days]
        axes.plot(
            at, [0.012] * len(at), "|", color=colour, markersize=9, transform=axes.get_xaxis_transform(), label=label
        )
