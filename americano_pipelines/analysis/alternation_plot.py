"""Draw days that alternate: the points of each condition connected, phases before and after them as bands."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.analysis.plots import BASELINE, INK, SOFT, TREATMENT, Band, new_axes, png
from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome
from americano_pipelines.statistics.prefix_sums import Values

_COLOURS, _MARKERS = (BASELINE, TREATMENT, INK), ("o", "s", "^")


def draw_alternation(
    values: Values,
    conditions: Sequence[tuple[str, NDArray[np.bool_]]],
    held: Sequence[Band],
    *,
    outcome: str,
    title: str,
) -> bytes:
    """Draw days that alternate.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        conditions: name of each condition, the baseline first, and whether each day is under it; shape (days,).
        held: phases before and after the days that alternate.
        outcome: name of the values.
        title: title of the figure.
    """
    figure, axes = new_axes(8.4, 4.2)
    day, alternates = np.arange(values.size) + 0.5, np.ones(values.size, dtype=np.bool_)
    for band in held:
        inside = (day > band.first) & (day < band.end)
        alternates &= ~inside
        axes.axvspan(band.first, band.end, color=TREATMENT if band.treated else BASELINE, alpha=0.07, linewidth=0)
        axes.annotate(band.label, ((band.first + band.end) / 2, 1.015), xycoords=("data", "axes fraction"), ha="center",
                      va="bottom", fontsize=9, color=SOFT)  # fmt: skip
        for edge in {band.first, band.end} - {0, values.size}:
            axes.axvline(edge, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
    for (name, under), colour, marker in zip(conditions, _COLOURS, _MARKERS, strict=False):
        shown = under & ~np.isnan(values)
        for part in (shown & alternates, *(shown & (day > band.first) & (day < band.end) for band in held)):
            axes.plot(day[part], values[part], color=colour, linewidth=1.1, marker=marker, markersize=4.2)
        inside = shown & alternates
        if inside.any():
            mean = float(values[inside].mean())
            axes.hlines(mean, day[alternates].min() - 0.5, day[alternates].max() + 0.5, color=colour, linewidth=1.4,
                        linestyle=(0, (1, 2)))  # fmt: skip
            shown_mean = format_outcome(mean, decimals_for((mean, float(np.nanmax(np.abs(values))))))
            label = f"{name}, mean {shown_mean} of {int(inside.sum())} days"
        else:
            label = name
        axes.plot([], [], color=colour, linewidth=1.1, marker=marker, markersize=4.2, label=label)
    missing = day[np.isnan(values)]
    if missing.size:
        axes.plot(missing, np.full(missing.size, 0.012), "|", color=SOFT, markersize=9,
                  transform=axes.get_xaxis_transform(), label=f"no value ({missing.size})")  # fmt: skip
    axes.set(xlabel="day since the first phase began", ylabel=outcome, xlim=(0, max(values.size, 1)))
    axes.set_title(title, loc="left", pad=20 if held else 6, fontsize=11)
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    return png(figure)
