"""Draw the effects of several experiments with their mean: a forest plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from americano_pipelines.analysis.plots import BASELINE, INK, SOFT, TREATMENT, new_axes, png
from americano_pipelines.statistics.random_effects import RandomEffects

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ForestRow:
    """An experiment in the figure.

    Attributes:
        title: its name.
        effect: its effect.
        error: the standard error.
        weight: its share in the mean.
    """

    title: str
    effect: float
    error: float
    weight: float


def draw_forest(rows: Sequence[ForestRow], mean: RandomEffects, *, unit: str, title: str) -> bytes:
    """Draw each effect with its interval, and below the mean, its interval and the prediction interval.

    Args:
        rows: the experiments.
        mean: the mean of their effects.
        unit: name and unit of the effects.
        title: title of the figure.
    """
    figure, axes = new_axes(8.4, 1.7 + 0.42 * (len(rows) + 1))
    quantile = NormalDist().inv_cdf((1 + mean.confidence) / 2)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.axvline(mean.mean, color=TREATMENT, linewidth=0.9, linestyle=(0, (4, 3)))
    for position, row in enumerate(rows):
        low, high = row.effect - quantile * row.error, row.effect + quantile * row.error
        axes.hlines(position, low, high, color=BASELINE, linewidth=1.4)
        axes.plot(row.effect, position, "s", color=BASELINE, markersize=4 + 12 * row.weight)
        _annotate(axes, position, f"{row.effect:.2f} [{low:.2f}, {high:.2f}]")
    below = len(rows) + 0.3
    low, high = mean.interval
    axes.fill([low, mean.mean, high, mean.mean], [below, below - 0.22, below, below + 0.22], color=TREATMENT)
    if mean.prediction is not None:
        axes.hlines(below, *mean.prediction, color=SOFT, linewidth=1.4, zorder=0, label="95 % prediction interval")
    _annotate(axes, below, f"{mean.mean:.2f} [{low:.2f}, {high:.2f}]")
    axes.set_yticks([*range(len(rows)), below], [*(row.title for row in rows), "mean, random effects"])
    axes.set_ylim(below + 0.6, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel=unit)
    axes.set_title(title, loc="left", fontsize=11)
    if mean.prediction is not None:
        figure.legend(loc="outside lower right", frameon=False, fontsize=8)
    return png(figure)


def _annotate(axes: "Axes", position: float, text: str) -> None:
    axes.annotate(
        text,
        (1.01, position),
        xycoords=("axes fraction", "data"),
        ha="left",
        va="center",
        fontsize=9,
        annotation_clip=False,
    )
