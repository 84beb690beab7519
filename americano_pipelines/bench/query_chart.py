"""Draw the times of the query benchmark as a chart."""

from collections.abc import Sequence

from americano_pipelines.analysis.plots import INK, new_axes, png
from americano_pipelines.bench.query_benchmark import POSTGRES, PUBLISHED, QueryTimes

_COLOURS = {POSTGRES: "#5b6c7d", "plain Parquet": "#c9b458", "unsorted table": "#9fc0d6", PUBLISHED: "#c8642b"}


def query_chart(times: Sequence[QueryTimes], rows: int) -> bytes:
    """A PNG with a group of bars for each question, milliseconds on a logarithmic axis."""
    figure, axes = new_axes(9, 0.55 * len(times) + 1.2)
    height = 0.8 / len(_COLOURS)
    for position, (name, colour) in enumerate(_COLOURS.items()):
        positions = [number + position * height for number in range(len(times))]
        axes.barh(positions, [line.warm_ms[name] for line in times], height, label=name, color=colour)
    axes.set_yticks([number + 0.4 - height / 2 for number in range(len(times))], [line.title for line in times])
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xscale("log")
    # Plots have no mathematics, so the powers of ten of the default would read as their source.
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(f"milliseconds, median of repeated runs; {rows:,} events", color=INK)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(_COLOURS), fontsize=8, frameon=False)
    return png(figure)
