"""Describe a design by the options of a command."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from americano_pipelines.errors import AnalysisError

if TYPE_CHECKING:
    from americano_pipelines.planning.planned_design import PlannedDesign

# What is simulated unless the options say otherwise.
EFFECTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
AUTOCORRELATIONS = (0.0, 0.3, 0.5)
_DESIGN_OPTIONS = (
    click.option("--design", required=True, help="ALTERNATING, CHANGING_CRITERION, or phases such as ABAB or ABAC."),
    click.option("--days", type=click.IntRange(min=2), required=True, help="Days of the experiment."),
    click.option("--min", "shortest", type=click.IntRange(min=1), help="Phases: fewest days of each."),
    click.option("--max", "longest", type=click.IntRange(min=1), help="Phases: most days of each."),
    click.option("--treated", type=click.IntRange(min=1), help="ALTERNATING: treatment days in each block."),
    click.option("--block", type=click.IntRange(min=2), help="ALTERNATING: days of a block. Without it, all days."),
    click.option(
        "--run",
        "longest_run",
        type=click.IntRange(min=1),
        help="ALTERNATING: most days in a row under one condition.",
    ),
    click.option("--before", type=click.IntRange(min=1), help="ALTERNATING: baseline days before the first block."),
    click.option("--after", type=click.IntRange(min=1), help="ALTERNATING: treatment days after the last block."),
    click.option(
        "--criterion",
        "criteria",
        multiple=True,
        type=float,
        help="CHANGING_CRITERION: the criterion of a phase after the baseline. Repeat it.",
    ),
    click.option(
        "--contrast",
        "contrasts",
        multiple=True,
        help="A pair to compare, such as INTERVENTION_B-BASELINE. Can be repeated, the primary one first.",
    ),
    click.option(
        "--direction",
        type=click.Choice(["increase", "decrease", "either"]),
        default="either",
        show_default=True,
        help="The direction that is tested; either is a two-sided test.",
    ),
    click.option(
        "--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
        help="The level of the test.",
    ),
    click.option(
        "--statistic",
        type=click.Choice(["mean", "median", "slope", "immediacy", "nap"]),
        default="mean",
        show_default=True,
        help="What the conditions are compared by.",
    ),
)  # fmt: skip
# The options of a design: those that it needs, and those that it may have.
_PHASE_OPTIONS = ("--min", "--max"), ("--contrast",)
_OPTIONS_OF = {
    "ALTERNATING": (("--treated",), ("--block", "--run", "--before", "--after", "--contrast")),
    "CHANGING_CRITERION": (("--min", "--max", "--criterion"), ()),
}


def design_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe a design and its test."""
    for option in reversed(_DESIGN_OPTIONS):
        command = option(command)
    return command


def design_of(options: dict[str, Any]) -> "PlannedDesign":
    """The design that the options describe.

    Raises:
        AnalysisError: an option is missing, is of another design, or is out of its bounds.
    """
    from americano_pipelines.analysis.condition_contrasts import BASELINE, Contrast, contrasts_of, parse_contrasts
    from americano_pipelines.planning.planned_design import alternating, changing_criterion, phase_design

    name, days = options["design"].upper(), options["days"]
    if name == "MULTIPLE_BASELINE":
        raise AnalysisError("the cases of a MULTIPLE_BASELINE are drawn together: use `americano plan group`")
    stated = {
        "--min": options["shortest"], "--max": options["longest"], "--treated": options["treated"],
        "--block": options["block"], "--run": options["longest_run"], "--before": options["before"],
        "--after": options["after"], "--criterion": options["criteria"], "--contrast": options["contrasts"],
    }  # fmt: skip
    needed, possible = _OPTIONS_OF.get(name, _PHASE_OPTIONS)
    others = [option for option in stated if option not in {*needed, *possible}]
    if any(not stated[option] for option in needed) or any(stated[option] for option in others):
        raise AnalysisError(f"{name} needs {' and '.join(needed)}, and no {', '.join(others)}")
    try:
        contrasts = contrasts_of(parse_contrasts(",".join(options["contrasts"])))
    except ValueError as error:
        raise AnalysisError(f"--contrast: {error}") from None
    if name == "CHANGING_CRITERION":
        return changing_criterion(days, options["shortest"], options["longest"], options["criteria"])
    if name != "ALTERNATING":
        return phase_design(name, days, options["shortest"], options["longest"], contrasts)
    if len(contrasts) > 1:
        raise AnalysisError("ALTERNATING compares two conditions, so it has one --contrast")
    compared = contrasts[0] if contrasts else Contrast("INTERVENTION_A", BASELINE)
    return alternating(
        days, options["treated"], options["block"], options["longest_run"],
        contrast=compared, before=options["before"] or 0, after=options["after"] or 0,
    )  # fmt: skip
