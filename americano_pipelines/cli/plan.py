"""Run `americano plan`: draw a schedule, simulate the power of its test, check what a protocol records."""

import secrets
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import JsonValue
from rich.markup import escape

from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import Console, progress, say, say_json, show_table
from americano_pipelines.cli.plan_design import AUTOCORRELATIONS, EFFECTS, design_of, design_options
from americano_pipelines.cli.plan_group import draw_cases
from americano_pipelines.cli.plan_tables import by_parameters, show_options, show_phases, show_power, show_reaches
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.planning.power_search import TriedDesign
    from americano_pipelines.planning.power_simulation import Power

_TARGET = 0.8
_FEW = 3  # labels that are listed
# An effect on slopes grows every day.
_SLOPES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


@click.group()
def plan() -> None:
    """Plan an experiment before it begins."""


plan.add_command(draw_cases)


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
        design, statistic = design_of(bounds), bounds["statistic"]
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
    show_phases(console, phases, title=f"{design.name}, {design.days} days, seed {seed}")
    console.print(f"Drawn {design.algorithm}.")
    show_reaches(console, design, reaches, alpha=alpha)
    if design.recorded_as != design.name:
        console.print(f"Record it in the app as a design {design.recorded_as}.")
    for own, labels in by_parameters(phases, parameters):
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
    effects = effects or (_SLOPES if slopes else EFFECTS)
    try:
        design = design_of(options)
        scenarios = [
            Scenario(test, Assumptions(correlation, options["trend"], options["missing"]), simulations, options["seed"])
            for correlation in autocorrelations or AUTOCORRELATIONS
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
    show_power(console, design, powers, test, simulations=simulations)
    if effect is not None:
        show_options(console, searched, effect, _TARGET)
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


def _option_as_dict(option: "TriedDesign") -> dict[str, Any]:
    design = option.design
    return {
        "days": design.days,
        "randomization": design.randomization,
        "assignments": design.schedule.count,
        **asdict(option.power),
    }
