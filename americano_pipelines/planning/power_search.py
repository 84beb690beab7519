"""Search for a length, or for bounds, with which a planned test finds an effect often enough."""

from dataclasses import dataclass
from math import ceil

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.planned_design import PlannedDesign
from americano_pipelines.planning.power_simulation import Power, Scenario, simulate_power
from americano_pipelines.statistics.phase_schedules import PhaseSchedule

_MAX_LENGTH_FACTOR = 3  # times the planned days


@dataclass(frozen=True)
class TriedDesign:
    """A design tried by the search, with its power.

    Attributes:
        design: the design.
        power: for the effect that is to be found.
    """

    design: PlannedDesign
    power: Power


def search_designs(
    design: PlannedDesign, scenario: Scenario, effect: float, target: float, timer: StageTimer | None = None
) -> list[TriedDesign]:
    """Look for a length, or for bounds, with which an effect is found often enough.

    Longer experiments, up to three times the days with bounds that grow along, are searched by bisection, so the
    result is the shortest up to the simulation's error. Of phases, the same days with wider bounds are looked at too.
    The primary contrast counts.

    Args:
        design: the design to begin with.
        scenario: the test, the days and the number of experiments.
        effect: the effect that is to be found, in standard deviations.
        target: the share of experiments in which it is to be found.
        timer: shows how far it is.

    Returns:
        All designs that were looked at, by days.
    """

    def evaluate(candidate: PlannedDesign) -> TriedDesign:
        return TriedDesign(candidate, simulate_power(candidate, scenario, (effect,), timer)[0])

    options = [evaluate(candidate) for candidate in (design, *_wider_bounds(design))]
    if options[0].power.power >= target:
        return options
    longer = _longer_designs(design)
    options.append(evaluate(longer[-1]))
    # If even the longest design lacks the power, skip the bisection.
    low, high = 0, len(longer) - 2 if options[-1].power.power >= target else -1
    while low <= high:
        middle = (low + high) // 2
        options.append(evaluate(longer[middle]))
        if options[-1].power.power >= target:
            high = middle - 1
        else:
            low = middle + 1
    return sorted(options, key=lambda option: (option.design.days, option.power.power))


def _wider_bounds(design: PlannedDesign) -> list[PlannedDesign]:
    """The same days with the shortest phase at half and at a quarter of its days, and no other bound on the longest."""
    if not isinstance(design.schedule, PhaseSchedule):
        return []
    shortest = design.schedule.shortest[0]
    wider = [design.widened(days) for days in sorted({shortest, ceil(shortest / 2), ceil(shortest / 4)})]
    return [candidate for candidate in wider if candidate != design]


def _longer_designs(design: PlannedDesign) -> list[PlannedDesign]:
    """The same design over more days, by days."""
    designs = []
    for days in range(design.days + 1, _MAX_LENGTH_FACTOR * design.days + 1):
        try:
            designs.append(design.resized(days))
        except AnalysisError:
            continue  # the days are no whole number of blocks
    return designs
