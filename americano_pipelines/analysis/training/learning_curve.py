"""Draw the learning curve, and write it as a table."""

from collections.abc import Mapping, Sequence

from americano_pipelines.analysis.plots import BASELINE, SOFT, TREATMENT, png


def curve_csv(series: Mapping[str, Sequence[float]]) -> bytes:
    """Write one line per epoch; epoch 0 is the baseline.

    Args:
        series: name to a value per epoch.
    """
    lines = [",".join(("epoch", *series))]
    rows = zip(*series.values(), strict=True)
    lines += [",".join((str(epoch), *map(repr, values))) for epoch, values in enumerate(rows)]
    return ("\n".join(lines) + "\n").encode()


def draw_curve(series: Mapping[str, Sequence[float]], *, baselines: Mapping[str, float], title: str) -> bytes:
    """Draw loss and accuracy of both parts over the epochs, with the validation part's baseline, as PNG.

    Args:
        series: `train_loss`, `train_accuracy`, `validation_loss`, `validation_accuracy`: a value per epoch from 0 on.
        baselines: `loss` and `accuracy` on the validation part of a model that knows no feature.
        title: title of the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    for axes, kind, unit in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("log loss, nats", "share that is right"), strict=True
    ):
        axes.axhline(baselines[kind], color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)), label="baseline, validation")
        for part, colour, style in (("train", BASELINE, "--"), ("validation", TREATMENT, "-")):
            axes.plot(series[f"{part}_{kind}"], color=colour, linewidth=1.8, linestyle=style, label=part)
        axes.set(xlabel="epoch", ylabel=unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False, fontsize=8)
    return png(figure)
