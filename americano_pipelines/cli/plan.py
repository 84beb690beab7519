"""Run `americano plan`: draw a schedule, simulate the power of its test, check what a protocol records."""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import JsonValue
from rich.markup import escape

from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import Console, progress, say, say_json, show_table
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.planning.planned_design import PlannedDesign
    from americano_pipelines.planning.power_search import TriedDesign
    from americano_pipelines.planning.power_simulation import Power
    from americano_pipelines.planning.schedule_draw import ContrastReach, DrawnPhase
    from americano_pipelines.planning.simulated_experiment import PlannedTest

_TARGET = 0.8
_FEW = 3  # labels that are listed
_EFFECTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
# An effect on slopes grows every day.
_SLOPES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_AUTOCORRELATIONS = (0.0, 0.3, 0.5)
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


@click.group()
def plan() -> None:
    """Plan an experiment before it begins."""


@plan.command("draw")
@design_options
@click.option("--seed", type=int, help="Seed of the draw. Without it, a random one, which is printed.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), help="The first day, such as 2027-01-04.")
@click.option("--improvement", type=click.Choice(["increase", "decrease"]), help="Which way of the outcome is better.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def draw(
    context: click.Context, /, *, direction: str, alpha: float, seed: int | None, start: datetime | None,
    improvement: str | None, as_json: bool, **bounds: Any,  # noqa: ANN401 - the options of a design
) -> None:  # fmt: skip
    """Draw a schedule; each that the design admits is as likely as any other.

    Record the phases and their interventionParams in the app before the first day: then the analysis is planned.
    """
    from americano_pipelines.planning.schedule_draw import (
        MAX_SEED,
        contrast_reaches,
        draw_schedule,
        intervention_params,
    )

    try:
        design, statistic = _design(bounds), bounds["statistic"]
        design.check_statistic(statistic)
        seed = secrets.randbelow(MAX_SEED + 1) if seed is None else seed
        phases = draw_schedule(design, seed, start.date() if start else None)
    except AnalysisError as error:
        say(str(error), err=True)
        context.exit(WRONG_USE)
    planned: dict[str, JsonValue] = {"direction": direction, "alpha": alpha}
    planned |= {} if statistic == "mean" else {"statistic": statistic}
    planned |= {"improvement": improvement} if improvement else {}
    reaches = contrast_reaches(design, phases, two_sided=direction == "either")
    parameters = intervention_params(design, phases, planned, seed)
    common = all(own == parameters[0] for own in parameters)
    if as_json:
        say_json(
            {
                "design": design.name,
                "recorded_as": design.recorded_as,
                "days": design.days,
                "seed": seed,
                "algorithm": design.algorithm,
                "assignments": design.schedule.count,
                "smallest_p": reaches[0].smallest_p,
                "contrasts": [asdict(reach) for reach in reaches],
                "phases": [
                    {**asdict(phase), "interventionParams": own} for phase, own in zip(phases, parameters, strict=True)
                ],
                "interventionParams": parameters[0] if common else None,
            }
        )
        return
    console = Console(highlight=False)
    _show_phases(console, phases, title=f"{design.name}, {design.days} days, seed {seed}")
    console.print(f"Drawn {design.algorithm}.")
    _show_reaches(console, design, reaches, alpha=alpha)
    if design.recorded_as != design.name:
        console.print(f"Record it in the app as a design {design.recorded_as}.")
    for own, labels in _by_parameters(phases, parameters):
        several = f"the {len(labels)} phases {labels[0]} to {labels[-1]}" if len(labels) > _FEW else ", ".join(labels)
        console.print(f"interventionParams of {'each phase' if common else several}:")
        say_json(own)


@plan.command("power")
@design_options
@click.option(
    "--effect",
    "effects",
    multiple=True,
    type=click.FloatRange(min=0),
    help="Effect in standard deviations. Can be repeated.",
)
@click.option(
    "--autocorrelation",
    "autocorrelations",
    multiple=True,
    type=float,
    help="Autocorrelation of neighbouring days. Can be repeated.",
)
@click.option(
    "--trend",
    type=float,
    default=0.0,
    show_default=True,
    help="Rise over the whole experiment, in standard deviations.",
)
@click.option("--missing", type=float, default=0.0, show_default=True, help="Share of days without a value.")
@click.option(
    "--simulations",
    type=click.IntRange(100, 100_000),
    default=2000,
    show_default=True,
    help="Simulated experiments for each figure.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the simulation.")
@click.option(
    "--find",
    "effect",
    type=click.FloatRange(min=0, min_open=True),
    help="Search the length and bounds that find this effect in 80 % of the experiments.",
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the power as a PNG picture.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def power(
    context: click.Context, /, *, effects: tuple[float, ...], autocorrelations: tuple[float, ...],
    effect: float | None, plot: Path | None, as_json: bool, **options: Any,  # noqa: ANN401 - of design and simulation
) -> None:  # fmt: skip
    """Simulate how often the randomization test would find an effect.

    Effects are in standard deviations of a day's value. Each experiment is drawn, simulated and tested anew.
    """
    from americano_pipelines.common.stage_timer import StageTimer
    from americano_pipelines.planning.power_search import search_designs
    from americano_pipelines.planning.power_simulation import Scenario, simulate_power
    from americano_pipelines.planning.schedule_draw import smallest_p
    from americano_pipelines.planning.simulated_experiment import Assumptions, PlannedTest

    powers: list[Power] = []
    searched: list[TriedDesign] = []
    direction, alpha, simulations = options["direction"], options["alpha"], options["simulations"]
    test, timer = PlannedTest(direction, alpha, options["statistic"]), StageTimer()
    slopes = test.statistic == "slope"
    effects = effects or (_SLOPES if slopes else _EFFECTS)
    try:
        design = _design(options)
        scenarios = [
            Scenario(test, Assumptions(correlation, options["trend"], options["missing"]), simulations, options["seed"])
            for correlation in autocorrelations or _AUTOCORRELATIONS
        ]
        with progress("simulating experiments", enabled=not as_json):
            for scenario in scenarios:
                powers += simulate_power(design, scenario, effects, timer)
            if effect is not None:
                searched = search_designs(design, scenarios[0], effect, _TARGET, timer)
    except AnalysisError as error:
        say(str(error), err=True)
        context.exit(WRONG_USE)
    if plot is not None:
        from americano_pipelines.planning.power_plot import SD, draw_power

        primary = design.contrasts[0]
        title = f"{design.name}, {design.days} days, {design.bounds}: {simulations:,} simulated experiments"
        about = [primary.words] if design.declared_contrasts else []
        about += [] if test.statistic == "mean" else [test.statistic]
        title += f"\n{', '.join(about)}" if about else ""
        drawn = [figure for figure in powers if figure.contrast == primary.name]
        unit = f"{SD}, a day" if slopes else SD
        plot.write_bytes(draw_power(drawn, title=title, alpha=alpha, target=_TARGET, unit=unit))
    if as_json:
        say_json(
            {
                "design": design.name,
                "days": design.days,
                "randomization": design.randomization,
                "assignments": design.schedule.count,
                "smallest_p": None
                if design.declared_contrasts  # it depends on the days that are drawn of the other conditions
                else smallest_p(design.schedule, two_sided=direction == "either"),
                "contrasts": [contrast.name for contrast in design.contrasts],
                "statistic": test.statistic,
                "simulations": simulations,
                "seed": options["seed"],
                "power": [asdict(figure) for figure in powers],
                "options": [_option_as_dict(option) for option in searched],
            }
        )
        return
    console = Console(highlight=False)
    _show_power(console, design, powers, test, simulations=simulations)
    if effect is not None:
        _show_options(console, searched, effect)
    if plot is not None:
        console.print(f"The picture is {plot}.")


@plan.command("check")
@click.argument("protocol")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, *, protocol: str, as_json: bool) -> None:
    """Check whether a protocol records all that a verdict needs.

    PROTOCOL is the name of a published protocol, its id, or a part of one. The exit code is 1 if something is missing.
    """
    from americano_pipelines.planning.protocol_check import check_protocol
    from americano_pipelines.warehouse.published_protocols import find_protocol, read_protocols

    settings = load_settings()
    published = find_protocol(read_protocols(settings), protocol)
    items = check_protocol(settings, published.protocol_id)
    complete = all(item.complete for item in items)
    if as_json:
        say_json(
            {
                "protocol_id": published.protocol_id,
                "protocol": published.name,
                "complete": complete,
                "items": [asdict(item) for item in items],
            }
        )
    else:
        console = Console(highlight=False)
        rows = [(item.what, "yes" if item.complete else "no", item.text) for item in items]
        show_table(console, ("what", "complete", "recorded"), rows, title=escape(published.title), max_rows=len(rows),
                   unbroken=("what", "complete"))  # fmt: skip
        console.print(
            "A verdict is possible when the plan is over."
            if complete
            else "Without the lines marked no there is no planned verdict."
        )
    if not complete:
        context.exit(FAILED)


def _design(options: dict[str, Any]) -> "PlannedDesign":
    from americano_pipelines.analysis.condition_contrasts import BASELINE, Contrast, contrasts_of, parse_contrasts
    from americano_pipelines.planning.planned_design import alternating, changing_criterion, phase_design

    name, days = options["design"].upper(), options["days"]
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


def _by_parameters(
    phases: "Sequence[DrawnPhase]", parameters: Sequence[dict[str, JsonValue]]
) -> list[tuple[dict[str, JsonValue], list[str]]]:
    """Each `interventionParams` once, with the labels of its phases."""
    labels: dict[str, list[str]] = {}
    for phase, own_parameters in zip(phases, parameters, strict=True):
        labels.setdefault(json.dumps(own_parameters), []).append(phase.label)
    return [(json.loads(own_parameters), phase_labels) for own_parameters, phase_labels in labels.items()]


def _show_phases(console: Console, phases: "Sequence[DrawnPhase]", *, title: str) -> None:
    dated = phases[0].starts is not None
    header = ("phase", "type", "first day", "days", *(("begins",) if dated else ()))
    rows = [
        (phase.label, phase.type, phase.first_day, phase.days, *((f"{phase.starts:%Y-%m-%d}",) if phase.starts else ()))
        for phase in phases
    ]
    show_table(console, header, rows, title=title, max_rows=len(rows))


def _show_reaches(
    console: Console, design: "PlannedDesign", reaches: "Sequence[ContrastReach]", *, alpha: float
) -> None:
    """Show how many assignments there are and the smallest p, and say which contrast cannot show an effect."""
    from americano_pipelines.statistics.effect_interval import rejects

    assignments = f"One of {design.schedule.count:,} assignments"
    if design.declared_contrasts:
        console.print(f"{assignments}. Each contrast is tested over those that agree on the days of other conditions:")
        rows = [
            (reach.contrast, f"{reach.assignments:,}", f"{reach.smallest_p:.2g}", f"{reach.corrected_p:.2g}")
            for reach in reaches
        ]
        show_table(console, ("contrast", "assignments", "smallest p", "as judged"), rows, max_rows=len(rows))
        if len(reaches) > 1:
            console.print("The first is the primary one; the p of the others is corrected by Holm.")
    else:
        console.print(f"{assignments}; the smallest p is {reaches[0].smallest_p:.2g}.")
    above = [reach.contrast for reach in reaches if not rejects(reach.corrected_p, alpha)]
    if above:
        remedy = f"Choose more days or {'larger blocks' if design.name == 'ALTERNATING' else 'wider bounds'}"
        subject = ", ".join(above) if design.declared_contrasts else "this design"
        console.print(f"[red]That is above alpha {alpha:g}[/]: {subject} cannot show an effect. {remedy}.")


def _show_power(
    console: Console,
    design: "PlannedDesign",
    powers: "Sequence[Power]",
    test: "PlannedTest",
    *,
    simulations: int,
) -> None:
    from americano_pipelines.planning.schedule_draw import smallest_p

    correlations = list(dict.fromkeys(figure.autocorrelation for figure in powers))
    figures = {(figure.contrast, figure.effect, figure.autocorrelation): figure for figure in powers}
    unit = "SD a day" if test.statistic == "slope" else "SD"
    header = (f"effect in {unit}", *(f"autocorrelation {correlation:g}" for correlation in correlations))
    sides = "two-sided" if test.one_sided is None else f"one-sided, {test.direction}"
    sides = sides if test.statistic == "mean" else f"{test.statistic}, {sides}"
    for contrast in design.contrasts:
        rows = [
            (f"{effect:g}", *(_shares(figures[contrast.name, effect, correlation]) for correlation in correlations))
            for effect in dict.fromkeys(figure.effect for figure in powers)
        ]
        words = f"; {contrast.words}" if design.declared_contrasts else ""
        title = f"{design.name}, {design.days} days, {design.bounds}{words}; {sides}, alpha {test.alpha:g}"
        show_table(console, header, rows, title=f"{title}: share that finds the effect", max_rows=len(rows))
    console.print(f"{simulations:,} simulated experiments each, with the 99 % interval of the simulation.")
    assignments = f"{design.schedule.count:,} assignments"
    if design.declared_contrasts:
        console.print(f"{assignments}. An effect lies on the days of the first condition of a contrast.")
        if len(design.contrasts) > 1:
            console.print("The first contrast is the primary one; the p of the others is corrected by Holm.")
    else:
        smallest = smallest_p(design.schedule, two_sided=test.one_sided is None)
        console.print(f"{assignments}; the smallest p is {smallest:.2g}.")


def _show_options(console: Console, options: "Sequence[TriedDesign]", effect: float) -> None:
    rows = [
        (option.design.days, option.design.bounds, f"{option.design.schedule.count:,}", _shares(option.power))
        for option in options
    ]
    title = f"To find an effect of {effect:g} SD in {_TARGET:.0%} of the experiments"
    show_table(console, ("days", "bounds", "assignments", "finds it"), rows, title=title, max_rows=len(rows))
    enough = [option for option in options if option.power.power >= _TARGET]
    if enough:
        shortest = min(enough, key=lambda option: option.design.days)
        console.print(f"{shortest.design.days} days with {shortest.design.bounds} are enough.")
    else:
        console.print("None of these is enough: test one-sided, record more often, or look for a larger effect.")


def _shares(figure: "Power") -> str:
    return f"{figure.power:.3f} ({figure.low:.3f}-{figure.high:.3f})"


def _option_as_dict(option: "TriedDesign") -> dict[str, Any]:
    design = option.design
    return {
        "days": design.days,
        "randomization": design.randomization,
        "assignments": design.schedule.count,
        **asdict(option.power),
    }
