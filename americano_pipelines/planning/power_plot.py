"""Draw the power of a planned test as a PNG."""

from collections.abc import Sequence

from americano_pipelines.analysis.plots import BASELINE, INK, SOFT, TREATMENT, new_axes, png
from americano_pipelines.planning.power_simulation import Power

SD = "standard deviations of a day's value"
_LINES = ("-", "--", ":", "-.")


def draw_power(powers: Sequence[Power], *, title: str, alpha: float, target: float, unit: str = SD) -> bytes:
    """Draw power by effect, a line for each autocorrelation, with its 99 % interval as a band.

    Args:
        powers: the simulated figures.
        title: title of the figure.
        alpha: the level of the test, a thin line.
        target: the power that is wanted, another.
        unit: of the effects, in words.
    """
    figure, axes = new_axes(7.5, 4.2)
    for level, words in ((target, f"{target:.0%}"), (alpha, f"level {alpha:g}")):
        axes.axhline(level, color=SOFT, linewidth=0.8)
        axes.annotate(words, (1, level), xycoords=("axes fraction", "data"), textcoords="offset points",
                      xytext=(-2, 3), ha="right", fontsize=8, color=SOFT)  # fmt: skip
    correlations = sorted({power.autocorrelation for power in powers})
    for number, correlation in enumerate(correlations):
        line = sorted(
            (power for power in powers if power.autocorrelation == correlation), key=lambda power: power.effect
        )
        effects = [power.effect for power in line]
        color = (BASELINE, TREATMENT, INK)[number % 3]
        axes.fill_between(
            effects, [power.low for power in line], [power.high for power in line], color=color, alpha=0.15, linewidth=0
        )
        axes.plot(
            effects, [power.power for power in line], _LINES[number % len(_LINES)], color=color, marker="o",
            markersize=3.5, label=f"autocorrelation {correlation:g}",
        )  # fmt: skip
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"effect, in {unit}", fontsize=9)
    axes.set_ylabel("share of experiments that find it", fontsize=9)
    axes.set_title(title, fontsize=10, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    return png(figure)
