"""Draw the cases of a multiple baseline as tiers above one time axis, with a stepped line through the starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.analysis.plots import BASELINE, INK, SOFT, TREATMENT, png
from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Above the highest day, for the means.
_HEADROOM = 0.18


@dataclass(frozen=True)
class Tier:
    """A case in the figure.

    Attributes:
        title: its name.
        values: the outcome of each day, NaN where there is none; shape (days,).
        start: the day on which treatment started, counted from 0; a fraction when it started within a day.
        excluded: days that were left out because treatment started within them.
    """

    title: str
    values: NDArray[np.float64]
    start: float
    excluded: Sequence[int] = ()


def draw_tiers(tiers: Sequence[Tier], *, outcome: str, title: str) -> bytes:
    """Draw the tiers, the earliest start on top.

    Args:
        tiers: the cases.
        outcome: name of the values.
        title: title of the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import ConnectionPatch

    ordered = sorted(tiers, key=lambda tier: tier.start)
    figure = Figure(figsize=(8.4, 1.2 + 1.9 * len(ordered)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(ordered), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    line: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": (0, (4, 3))}
    for tier, axes in zip(ordered, panels, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        _draw_days(axes, tier)
        axes.axvline(tier.start, **line)
    for index in range(len(ordered) - 1):
        upper, lower = panels[index].get_xaxis_transform(), panels[index + 1].get_xaxis_transform()
        start = ordered[index].start
        # Down to the next tier, and there along its upper edge to its own start.
        figure.add_artist(
            ConnectionPatch(xyA=(start, 0), coordsA=upper, xyB=(start, 1.12), coordsB=lower, arrowstyle="-", **line)
        )
        axes = panels[index + 1]
        later = ordered[index + 1].start
        axes.plot([start, later, later], [1.12, 1.12, 1], transform=lower, clip_on=False, scalex=False, **line)
    last = max(tier.values.size for tier in ordered)
    panels[-1].set(xlabel="day since the baseline of each case began", xlim=(0, max(last, 1)))
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(low, high + _HEADROOM * (high - low))
    figure.supylabel(outcome, fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    for axes in panels[1:]:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles, labels = [*handles, handle], [*labels, label]
    figure.legend(handles, labels, loc="outside lower right", ncols=len(labels), frameon=False, fontsize=8)
    return png(figure)


def _draw_days(axes: "Axes", tier: Tier) -> None:
    days = np.arange(tier.values.size)
    # The means are at the outer edges: at a short phase's own middle the name would reach beyond the axes.
    for name, first, end, colour, edge, side in (
        ("baseline", 0.0, tier.start, BASELINE, 0.0, "left"),
        ("treatment", tier.start, float(tier.values.size), TREATMENT, float(tier.values.size), "right"),
    ):
        axes.axvspan(first, end, color=colour, alpha=0.07, linewidth=0)
        inside = (days + 0.5 > first) & (days + 0.5 < end)
        shown = inside & ~np.isnan(tier.values)
        # NaN breaks the line, so that gaps show.
        axes.plot(
            days[inside] + 0.5, tier.values[inside], color=colour, linewidth=0.9, marker="o", markersize=3.4, label=name
        )
        if shown.any():
            mean = float(tier.values[shown].mean())
            axes.hlines(mean, first, end, color=colour, linewidth=2.2, alpha=0.6, zorder=1)
            digits = max(0, decimals_for((mean, float(np.nanmax(np.abs(tier.values))))) - 1)
            axes.annotate(
                f"mean {format_outcome(mean, digits)}",
                (edge, 0.97),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                xytext=(4 if side == "left" else -4, 0),
                ha=side,
                va="top",
                color=colour,
                fontsize=9,
            )
    missing = [day for day in days[np.isnan(tier.values)] if day not in set(tier.excluded)]
    for marked, colour, label in (
        (missing, SOFT, "no value"),
        (tier.excluded, INK, "left out: treatment starts within it"),
    ):
        if len(marked):
            positions = [day + 0.5 for day in marked]
            axes.plot(
                positions,
                [0.02] * len(positions),
                "|",
                color=colour,
                markersize=8,
                transform=axes.get_xaxis_transform(),
                label=label,
            )
    axes.set_title(tier.title, loc="right", fontsize=9, color=INK, pad=2)
