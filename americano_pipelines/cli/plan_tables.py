"""Print drawn schedules and simulated power as tables."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from americano_pipelines.cli.output import Console, show_table

if TYPE_CHECKING:
    from americano_pipelines.planning.planned_design import PlannedDesign
    from americano_pipelines.planning.power_search import TriedDesign
    from americano_pipelines.planning.power_simulation import Power
    from americano_pipelines.planning.schedule_draw import ContrastReach, DrawnPhase
    from americano_pipelines.planning.simulated_experiment import PlannedTest


def by_parameters(
    phases: "Sequence[DrawnPhase]", parameters: Sequence[dict[str, JsonValue]]
) -> list[tuple[dict[str, JsonValue], list[str]]]:
    """Each `interventionParams` once, with the labels of its phases."""
    labels: dict[str, list[str]] = {}
    for phase, own_parameters in zip(phases, parameters, strict=True):
        labels.setdefault(json.dumps(own_parameters), []).append(phase.label)
    return [(json.loads(own_parameters), phase_labels) for own_parameters, phase_labels in labels.items()]


def show_phases(console: Console, phases: "Sequence[DrawnPhase]", *, title: str) -> None:
    """Show the phases of a drawn schedule."""
    dated = phases[0].starts is not None
    header = ("phase", "type", "first day", "days", *(("begins",) if dated else ()))
    rows = [
        (phase.label, phase.type, phase.first_day, phase.days, *((f"{phase.starts:%Y-%m-%d}",) if phase.starts else ()))
        for phase in phases
    ]
    show_table(console, header, rows, title=title, max_rows=len(rows))


def show_reaches(
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


def show_power(
    console: Console,
    design: "PlannedDesign",
    powers: "Sequence[Power]",
    test: "PlannedTest",
    *,
    simulations: int,
) -> None:
    """Show the power of each contrast, by effect and autocorrelation."""
    from americano_pipelines.planning.schedule_draw import smallest_p

    unit = "SD a day" if test.statistic == "slope" else "SD"
    sides = "two-sided" if test.one_sided is None else f"one-sided, {test.direction}"
    sides = sides if test.statistic == "mean" else f"{test.statistic}, {sides}"
    for contrast in design.contrasts:
        words = f"; {contrast.words}" if design.declared_contrasts else ""
        title = f"{design.name}, {design.days} days, {design.bounds}{words}; {sides}, alpha {test.alpha:g}"
        show_shares(console, [figure for figure in powers if figure.contrast == contrast.name], title, unit)
    console.print(f"{simulations:,} simulated experiments each, with the 99 % interval of the simulation.")
    assignments = f"{design.schedule.count:,} assignments"
    if design.declared_contrasts:
        console.print(f"{assignments}. An effect lies on the days of the first condition of a contrast.")
        if len(design.contrasts) > 1:
            console.print("The first contrast is the primary one; the p of the others is corrected by Holm.")
    else:
        smallest = smallest_p(design.schedule, two_sided=test.one_sided is None)
        console.print(f"{assignments}; the smallest p is {smallest:.2g}.")


def show_shares(console: Console, powers: "Sequence[Power]", title: str, unit: str) -> None:
    """Show the power of one test, by effect and autocorrelation."""
    correlations = list(dict.fromkeys(figure.autocorrelation for figure in powers))
    figures = {(figure.effect, figure.autocorrelation): figure for figure in powers}
    rows = [
        (f"{effect:g}", *(_shares(figures[effect, correlation]) for correlation in correlations))
        for effect in dict.fromkeys(figure.effect for figure in powers)
    ]
    header = (f"effect in {unit}", *(f"autocorrelation {correlation:g}" for correlation in correlations))
    show_table(console, header, rows, title=f"{title}: share that finds the effect", max_rows=len(rows))


def show_options(console: Console, options: "Sequence[TriedDesign]", effect: float, target: float) -> None:
    """Show lengths and bounds with their power, and which are enough for the target."""
    rows = [
        (option.design.days, option.design.bounds, f"{option.design.schedule.count:,}", _shares(option.power))
        for option in options
    ]
    title = f"To find an effect of {effect:g} SD in {target:.0%} of the experiments"
    show_table(console, ("days", "bounds", "assignments", "finds it"), rows, title=title, max_rows=len(rows))
    enough = [option for option in options if option.power.power >= target]
    if enough:
        shortest = min(enough, key=lambda option: option.design.days)
        console.print(f"{shortest.design.days} days with {shortest.design.bounds} are enough.")
    else:
        console.print("None of these is enough: test one-sided, record more often, or look for a larger effect.")


def _shares(figure: "Power") -> str:
    return f"{figure.power:.3f} ({figure.low:.3f}-{figure.high:.3f})"
