"""The picture of a randomization test: where the observed statistic lies among all others.

Here belongs that one. Pictures of days are `plots.py`.
"""

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.analysis.plot_style import BASELINE, INK, TREATMENT, new_axes, png


def draw_distribution(
    edges: NDArray[np.float64], counts: NDArray[np.int64], observed: float, *, unit: str, title: str, two_sided: bool
) -> bytes:
    """The statistic under every assignment that could have been drawn, and the one that was.

    Args:
        edges: bin edges in outcome units, shape (bins + 1,).
        counts: assignments in each bin, shape (bins,).
        observed: the observed statistic.
        unit: what the statistic is, with its unit.
        title: what is shown.
        two_sided: whether values as far on the other side count too.
    """
    figure, axes = new_axes(7.5, 3.6)
    middles = (edges[:-1] + edges[1:]) / 2
    extreme = np.abs(middles) >= abs(observed) if two_sided else middles * np.sign(observed or 1) >= abs(observed)
    width = np.diff(edges)
    axes.bar(edges[:-1], counts, width, align="edge", color=np.where(extreme, TREATMENT, BASELINE), alpha=0.75)
    for at in (observed, -observed) if two_sided else (observed,):
        axes.axvline(at, color=INK, linewidth=1.6, linestyle="-" if at == observed else (0, (4, 3)))
    axes.annotate(
        f"observed {observed:.2f}",
        (observed, 1),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        xytext=(5, -12),
        color=INK,
        fontsize=9,
    )
    axes.set(xlabel=unit, ylabel="assignments")
    axes.set_title(title, loc="left", fontsize=11)
    return png(figure)
