"""Run `americano plan group`: draw the starts of all cases of a multiple baseline together."""

import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from pydantic import JsonValue
from rich.markup import escape

from americano_pipelines.cli.exit_codes import WRONG_USE
from americano_pipelines.cli.output import Console, progress, say, say_json, show_table
from americano_pipelines.cli.plan_design import AUTOCORRELATIONS, EFFECTS
from americano_pipelines.cli.plan_tables import show_shares
from americano_pipelines.errors import AnalysisError

if TYPE_CHECKING:
    from americano_pipelines.planning.group_design import DrawnCase, GroupDesign
    from americano_pipelines.planning.power_simulation import Power
    from americano_pipelines.planning.simulated_experiment import PlannedTest


@click.command("group")
@click.option("--group", required=True, help="The key of the group, which the plan of each case records.")
@click.option("--days", type=click.IntRange(min=2), required=True, help="Days of each case.")
@click.option("--cases", type=click.IntRange(min=2), help="Number of cases.")
@click.option("--min", "shortest", type=click.IntRange(min=1), help="Fewest days of a phase.")
@click.option("--max", "longest", type=click.IntRange(min=1), help="Most days of a phase.")
@click.option("--distance", type=click.IntRange(min=1), help="Fewest days between the starts of any two cases.")
@click.option(
    "--window",
    "windows",
    multiple=True,
    help="Baseline days of one case, such as 14 or 13-16. Repeat it: the cases are permuted over them.",
)
@click.option(
    "--direction",
    type=click.Choice(["increase", "decrease", "either"]),
    default="either",
    show_default=True,
    help="The direction that is tested; either is a two-sided test.",
)
@click.option(
    "--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
    help="The level of the test.",
)  # fmt: skip
@click.option("--seed", type=int, help="Seed of the draw. Without it, a random one, which is printed.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), help="The first day of all cases, such as 2027-01-04.")
@click.option("--improvement", type=click.Choice(["increase", "decrease"]), help="Which way of the outcome is better.")
@click.option(
    "--simulations",
    type=click.IntRange(100, 100_000),
    help="Simulate the power of the joint test too, by so many groups for each figure.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def draw_cases(
    context: click.Context, /, *, group: str, alpha: float, seed: int | None, as_json: bool,
    **options: Any,  # noqa: ANN401 - the design, its dates and what is better
) -> None:  # fmt: skip
    """Draw the starts of a multiple baseline.

    Each joint assignment is as likely as any other. Record the phases of each case and their interventionParams in
    the app before the first day: then the joint test is planned.
    """
    from americano_pipelines.analysis.group_extract import MULTIPLE_BASELINE_DESIGN
    from americano_pipelines.planning.group_design import draw_group, group_params
    from americano_pipelines.planning.schedule_draw import MAX_SEED, smallest_p
    from americano_pipelines.planning.simulated_experiment import PlannedTest

    start, direction, improvement = options["start"], options["direction"], options["improvement"]
    simulations = options["simulations"]
    planned: dict[str, JsonValue] = {"direction": direction, "alpha": alpha}
    planned |= {"improvement": improvement} if improvement else {}
    try:
        design = _design_of(options)
        seed = secrets.randbelow(MAX_SEED + 1) if seed is None else seed
        cases = draw_group(design, seed, start.date() if start else None)
        parameters = group_params(design, group, planned, seed)
    except AnalysisError as error:
        say(str(error), err=True)
        context.exit(WRONG_USE)
    powers: list[Power] = []
    if simulations is not None:
        powers = _simulated(design, PlannedTest(direction, alpha), simulations, shown=not as_json)
    smallest = smallest_p(design.schedule, two_sided=direction == "either")
    if as_json:
        say_json(
            {
                "group": group,
                "recorded_as": MULTIPLE_BASELINE_DESIGN,
                "days": design.days,
                "seed": seed,
                "algorithm": design.algorithm,
                "assignments": design.schedule.count,
                "smallest_p": smallest,
                "cases": [asdict(case) for case in cases],
                "interventionParams": parameters,
                "power": [asdict(figure) for figure in powers],
            }
        )
        return
    console = Console(highlight=False)
    _show_cases(console, cases, title=f"{escape(group)}: {design.cases} cases of {design.days} days, seed {seed}")
    console.print(f"Drawn {design.algorithm}.")
    _show_reach(console, design, smallest, alpha=alpha)
    console.print(f"Record each case in the app as a protocol of the design {MULTIPLE_BASELINE_DESIGN}.")
    console.print("interventionParams of each phase of each case:")
    say_json(parameters)
    if powers:
        sides = "two-sided" if direction == "either" else f"one-sided, {direction}"
        show_shares(console, powers, f"joint test, {sides}, alpha {alpha:g}", "SD")
        console.print(f"{simulations:,} simulated groups each, with the 99 % interval of the simulation.")


def _simulated(design: "GroupDesign", test: "PlannedTest", simulations: int, *, shown: bool) -> "list[Power]":
    from americano_pipelines.common.stage_timer import StageTimer
    from americano_pipelines.planning.power_simulation import Scenario
    from americano_pipelines.planning.simulated_experiment import Assumptions
    from americano_pipelines.planning.simulated_group import simulate_group_power

    timer = StageTimer()
    powers: list[Power] = []
    with progress("simulating groups", enabled=shown):
        for correlation in AUTOCORRELATIONS:
            powers += simulate_group_power(
                design, Scenario(test, Assumptions(correlation), simulations), EFFECTS, timer
            )
    return powers


def _design_of(options: dict[str, Any]) -> "GroupDesign":
    from americano_pipelines.planning.group_design import drawn_starts, permuted_cases

    days, windows = options["days"], options["windows"]
    bounds = [options[name] for name in ("cases", "shortest", "longest")]
    if windows:
        if any(bounds) or options["distance"]:
            raise AnalysisError("with --window the cases are permuted: leave out --cases, --min, --max and --distance")
        return permuted_cases(days, [_window(text) for text in windows])
    if not all(bounds):
        raise AnalysisError("a multiple baseline needs --cases, --min and --max, or a --window for each case")
    return drawn_starts(options["cases"], days, options["shortest"], options["longest"], options["distance"] or 0)


def _window(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        return int(first), int(last if dash else first)
    except ValueError:
        raise AnalysisError(f"--window: {text!r} is no number of days such as 14, and no range such as 13-16") from None


def _show_cases(console: Console, cases: "list[DrawnCase]", *, title: str) -> None:
    dated = cases[0].phases[0].starts is not None
    header = ("case", "phase", "type", "first day", "days", *(("begins",) if dated else ()))
    rows = [
        (case.case, phase.label, phase.type, phase.first_day, phase.days,
         *((f"{phase.starts:%Y-%m-%d}",) if phase.starts else ()))
        for case in cases
        for phase in case.phases
    ]  # fmt: skip
    show_table(console, header, rows, title=title, max_rows=len(rows))


def _show_reach(console: Console, design: "GroupDesign", smallest: float, *, alpha: float) -> None:
    from americano_pipelines.statistics.effect_interval import rejects

    console.print(f"One of {design.schedule.count:,} joint assignments; the smallest p is {smallest:.2g}.")
    if not rejects(smallest, alpha):
        remedy = "more cases or wider windows" if design.schedule.permuted else "more cases, more days or wider bounds"
        console.print(f"[red]That is above alpha {alpha:g}[/]: this design cannot show an effect. Choose {remedy}.")
