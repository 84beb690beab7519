"""How the pictures of an analysis look: colours, axes, the PNG they end as.

Here belongs what all of them share. What they show is `plots.py` and `plot_distribution.py`.
"""

import io
from typing import TYPE_CHECKING

from americano_pipelines.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that differ in lightness too, for those who do not see hues and for print.
BASELINE, TREATMENT, INK, SOFT = "#5b6c7d", "#c8642b", "#222222", "#8a8a8a"
_DPI = 130


def new_axes(width: float, height: float) -> "tuple[Figure, Axes]":
    """An empty picture of so many inches."""
    # Not pyplot, which keeps every figure of a long-lived process and wants a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def png(figure: "Figure") -> bytes:
    """The picture as a file."""
    from matplotlib.text import Text

    # A dollar in the name of a protocol or phase is a dollar, and begins no formula.
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        if (shown := visible(text.get_text())) != text.get_text():
            text.set_text(shown)
    stream = io.BytesIO()
    # Without the program's version in it: the same picture has the same bytes.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
