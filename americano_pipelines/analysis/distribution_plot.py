"""Draw the statistic of a randomization test under every possible assignment, with the observed one."""

import numpy as np

from americano_pipelines.analysis.plots import BASELINE, INK, TREATMENT, new_axes, png
from americano_pipelines.analysis.randomization_scheme import NOT_A_TEST
from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome, shown_p
from americano_pipelines.statistics.randomization_test import RandomizationTest


def draw_distribution(test: RandomizationTest, *, unit: str, compliance: str) -> bytes:
    """Draw the distribution of a test; what is as extreme as the observed statistic has another colour.

    Args:
        test: the test; no bin of it holds both sides of the observed statistic.
        unit: name and unit of the statistic.
        compliance: `planned`, `declared` or `exploratory`.
    """
    edges, counts, observed = test.edges, test.counts, test.observed
    figure, axes = new_axes(7.5, 3.6)
    middles = (edges[:-1] + edges[1:]) / 2
    extreme = middles >= observed if test.favoured_direction == "increase" else middles <= observed
    for shown, colour, label in (
        (~extreme, BASELINE, f"less extreme ({counts[~extreme].sum():,})"),
        (extreme, TREATMENT, f"at least as extreme ({counts[extreme].sum():,})"),
    ):
        bins = edges[:-1][shown], counts[shown], np.diff(edges)[shown]
        axes.bar(*bins, align="edge", color=colour, alpha=0.75, label=label)
    axes.axvline(observed, color=INK, linewidth=1.6)
    right = observed < (edges[0] + edges[-1]) / 2
    axes.annotate(
        f"observed {format_outcome(observed, decimals_for((observed, edges[0], edges[-1])))}",
        (observed, 1),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        xytext=(5 if right else -5, -12),
        ha="left" if right else "right",
        color=INK,
        fontsize=9,
    )
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    axes.set(xlabel=unit, ylabel="assignments")
    sides = "two-sided, twice the share" if test.direction is None else f"one-sided, {test.direction}"
    p = f"p = {shown_p(test.p)}"
    of_p = f"{p} ({sides}), {compliance}" if test.admissible else f"{NOT_A_TEST}: {p} only describes"
    axes.set_title(f"{test.assignments:,} possible assignments, {of_p}", loc="left", fontsize=11)
    return png(figure)
