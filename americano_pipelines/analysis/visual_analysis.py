"""Describe a phase design by what visual analysis looks at: tables of six features, and a figure with their lines."""

from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.plots import BASELINE, INK, SOFT, TREATMENT, new_axes, png
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.overlap_measures import DatedValues
from americano_pipelines.statistics.randomization_test import Direction
from americano_pipelines.statistics.visual_features import PhaseDays, VisualFeatures, visual_features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHED, _DOTTED = (0, (5, 3)), (0, (1, 2))


def features_of(observations: Observations, improvement: Direction | None) -> VisualFeatures:
    """The features of a protocol; higher counts as better where no way is declared."""
    phases = []
    for index, (window, band) in enumerate(zip(observations.timeline.windows, observations.bands(), strict=True)):
        days = np.flatnonzero((observations.days.phase == index) & ~np.isnan(observations.days.values))
        kind = window.type if window.condition == "treatment" else window.condition
        dated = DatedValues(observations.days.values[days], days)
        phases.append(PhaseDays(window.label, kind, window.condition, dated, band.first, band.end))
    return visual_features(phases, improvement or "increase")


def visual_results(features: VisualFeatures) -> JsonValue:
    """The features as JSON: a table for each."""
    return jsonable(features.tables())


def draw_features(observations: Observations, features: VisualFeatures, *, title: str) -> bytes:
    """Draw days with level, trend and stability envelope of each phase, and each baseline's trend carried on.

    Args:
        observations: the protocol's days.
        features: its features.
        title: title of the figure.
    """
    figure, axes = new_axes(8.4, 4.4)
    values, middle = observations.days.values, np.arange(observations.days.values.size) + 0.5
    for index, band in enumerate(observations.bands()):
        colour = TREATMENT if band.treated else BASELINE
        inside = observations.days.phase == index
        axes.plot(middle[inside], values[inside], color=colour, linewidth=0.7, marker="o", markersize=3.2, alpha=0.8)
        axes.axvline(band.end, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            band.label, ((band.first + band.end) / 2, 1.015), xycoords=("data", "axes fraction"), ha="center",
            va="bottom", color=colour, fontsize=9,
        )  # fmt: skip
    for phase in features.phases:
        ends = phase.phase.first, phase.phase.end
        colour = TREATMENT if phase.phase.condition == "treatment" else BASELINE
        axes.hlines(phase.mean, *ends, color=colour, linewidth=2.4, zorder=3)
        if phase.envelope is not None:
            axes.fill_between(ends, *phase.envelope, color=colour, alpha=0.13, linewidth=0)
        if phase.trend is not None:
            axes.plot(ends, phase.trend.ends(phase.phase), color=colour, linewidth=1.6, linestyle=_DASHED, zorder=3)
    for switch in features.switches:
        if switch.above_projection is not None and switch.first.trend is not None:
            later = switch.second.phase
            line = switch.first.trend.ends(later)
            axes.plot((later.first, later.end), line, color=INK, linewidth=1.3, linestyle=_DOTTED)
    # A steep line that is carried on far would flatten everything else.
    shown = [*values[~np.isnan(values)].tolist()]
    for phase in features.phases:
        shown += [*(phase.envelope or ()), *(phase.trend.ends(phase.phase) if phase.trend else ())]
    if shown:
        margin = 0.05 * (max(shown) - min(shown)) or 1.0
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
    _legend(axes, has_envelope=any(phase.envelope is not None for phase in features.phases))
    axes.set(
        xlabel="day since the first phase began", ylabel=observations.extract.outcome, xlim=(0, max(values.size, 1))
    )
    axes.set_title(title, loc="left", pad=20, fontsize=11)
    return png(figure)


def _legend(axes: "Axes", *, has_envelope: bool) -> None:
    """What the lines are, below the figure."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Line2D | Patch] = [
        Line2D([], [], color=INK, linewidth=2.4, label="level (mean)"),
        Line2D([], [], color=INK, linewidth=1.6, linestyle=_DASHED, label="trend"),
        Line2D([], [], color=INK, linewidth=1.3, linestyle=_DOTTED, label="baseline's trend carried on"),
    ]
    if has_envelope:
        entries.append(Patch(color=SOFT, alpha=0.3, linewidth=0, label="within 25 % of the median"))
    figure = axes.figure
    figure.legend(handles=entries, loc="outside lower right", ncols=len(entries), frameon=False, fontsize=8)
