"""Extracts that several test files use: of the demo's protocols, and the same with one phase changed."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from itertools import groupby

import numpy as np

from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.demo.data.design import daily_outcomes, phases
from americano_pipelines.demo.data.protocols import PROTOCOLS, DemoProtocol
from americano_pipelines.statistics.day_clock import DAY_US

LATER = 2_000_000_000_000_000
ORIGIN = 1_700_000_000_000_000
ONE = PROTOCOLS[0]


def extract_of(protocol: DemoProtocol, *, drawn: bool = True) -> Extract:
    """The extract of a demo protocol with one event a day, at noon."""
    planned = phases(protocol)
    origin = int(datetime.combine(protocol.start, time(), UTC).timestamp() * 1e6)
    starts = [(phase.first - protocol.start).days for phase in planned]
    bounds: dict[str, object] = {"analysis": {"type": "ABAB_RANDOMIZATION", "improvement": protocol.improvement}}
    if drawn:
        bounds["randomization"] = {"minDays": protocol.min_days, "maxDays": protocol.max_days}
    values = daily_outcomes(protocol)
    days_with_value = np.flatnonzero(~np.isnan(values))
    return Extract(
        outcome="sessionPerformanceScore",
        protocol=Protocol(
            protocol_id=protocol.name,
            learner="learner-x",
            name=protocol.title,
            design="ABAB",
            primary_outcome="sessionPerformanceScore",
            starts_us=origin,
            ends_us=None,
            plan=None,
            deviations=[],
        ),
        phases=[
            Phase(
                phase_id=phase.label,
                label=phase.label,
                type=phase.kind,
                starts_us=origin + start * DAY_US,
                ends_us=None,
                planned_days=phase.days,
                parameters=bounds,
                seed=protocol.seed,
            )
            for start, phase in zip(starts, planned, strict=True)
        ],
        times_us=[origin + int(day) * DAY_US + DAY_US // 2 for day in days_with_value],
        values=[float(values[day]) for day in days_with_value],
        labels=[None] * days_with_value.size,
    )


def changed(extract: Extract, index: int, **values: object) -> Extract:
    """The same with one phase changed."""
    changed_phase = extract.phases[index].model_copy(update=values)
    listed = [changed_phase if place == index else phase for place, phase in enumerate(extract.phases)]
    return extract.model_copy(update={"phases": listed})


def planned(extract: Extract, index: int | None = None, **plan: object) -> Extract:
    """The same with another plan in one phase, or in all of them."""
    for place in range(len(extract.phases)) if index is None else [index]:
        parameters = extract.phases[place].parameters
        extract = changed(extract, place, parameters={**parameters, "analysis": {"type": "ABAB_RANDOMIZATION", **plan}})
    return extract


def alternating(order: str, values: Sequence[float], randomization: dict[str, object]) -> Extract:
    """A protocol that alternates from day to day.

    Args:
        order: of its days, T for treatment and B for baseline; a run of one of them is a phase.
        values: the outcome of each day.
        randomization: what all its phases record.
    """
    runs = [(side, len(list(days))) for side, days in groupby(order)]
    starts = np.cumsum([0, *(days for _, days in runs)])
    return Extract(
        outcome="score",
        protocol=Protocol(
            protocol_id="alternating",
            learner="learner-x",
            name=None,
            design="ALTERNATING",
            primary_outcome="score",
            starts_us=ORIGIN,
            ends_us=None,
            plan=None,
            deviations=[],
        ),
        phases=[
            Phase(
                phase_id=f"phase_{number}",
                label=f"{side}{number}",
                type="INTERVENTION_A" if side == "T" else "BASELINE",
                starts_us=ORIGIN + int(start) * DAY_US,
                ends_us=None,
                planned_days=days,
                parameters={"randomization": randomization},
                seed=1,
            )
            for number, (start, (side, days)) in enumerate(zip(starts, runs, strict=False))
        ],
        times_us=[ORIGIN + day * DAY_US + DAY_US // 3 for day in range(len(order))],
        values=list(values),
        labels=[None] * len(order),
    )


TYPES = {"B": "BASELINE", "A": "INTERVENTION_A", "C": "INTERVENTION_B"}


def alternating_part(
    before: str, order: str, after: str, values: Sequence[float], randomization: dict[str, object]
) -> Extract:
    """Days that alternate after a phase and before another one, which record no scheme.

    Args:
        before: the days before, B for baseline, A and C for the interventions; empty for none.
        order: of the days that alternate.
        after: the days after them.
        values: the outcome of each day.
        randomization: what the phases that alternate record.
    """
    runs = [(side, len(list(days)), True) for side, days in groupby(order)]
    phases_of = [(part[0], len(part), False) for part in (before,) if part]
    phases_of += runs + [(part[0], len(part), False) for part in (after,) if part]
    starts = np.cumsum([0, *(days for _, days, _ in phases_of)])
    extract = alternating("TB" * len(phases_of), [0.0] * (2 * len(phases_of)), {})
    listed = [
        extract.phases[place].model_copy(
            update={
                "label": f"{side}{place}",
                "type": TYPES[side],
                "starts_us": ORIGIN + int(start) * DAY_US,
                "planned_days": days,
                "parameters": {"randomization": randomization} if alternates else {},
            }
        )
        for place, ((side, days, alternates), start) in enumerate(zip(phases_of, starts, strict=False))
    ]
    return extract.model_copy(
        update={
            "phases": listed,
            "times_us": [ORIGIN + day * DAY_US + DAY_US // 3 for day in range(len(values))],
            "values": list(values),
            "labels": [None] * len(values),
        }
    )


def switching(days: Sequence[int], hours: Sequence[float], values: Sequence[float], bounds: tuple[int, int]) -> Extract:
    """A protocol of baseline and treatment in turn, whose phases may begin within a day, with four events a day.

    Args:
        days: planned days of each phase.
        hours: at which each phase begins, after the start of its first day.
        values: the outcome of each event.
        bounds: fewest and most days of each phase that the drawing admitted.
    """
    starts = np.cumsum([0, *days])
    extract = alternating("BT" * (len(days) // 2), values[: len(days)], {})
    phases_of = [
        phase.model_copy(
            update={
                "starts_us": ORIGIN + int(start) * DAY_US + int(hour * DAY_US / 24),
                "planned_days": planned,
                "parameters": {"randomization": {"minDays": bounds[0], "maxDays": bounds[1]}},
            }
        )
        for phase, start, hour, planned in zip(extract.phases, starts, hours, days, strict=False)
    ]
    return extract.model_copy(
        update={
            "protocol": extract.protocol.model_copy(update={"design": "ABAB"}),
            "phases": [*phases_of[:-1], phases_of[-1].model_copy(update={"ends_us": ORIGIN + sum(days) * DAY_US})],
            "times_us": [ORIGIN + number * DAY_US // 4 + DAY_US // 8 for number in range(4 * sum(days))],
            "values": list(values),
            "labels": [None] * len(values),
        }
    )
