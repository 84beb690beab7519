"""Extracts that several test files use: of the demo's protocols, and the same with one phase changed."""

from datetime import UTC, datetime, time

import numpy as np

from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.demo.design import daily_outcomes, phases
from americano_pipelines.demo.protocols import PROTOCOLS, DemoProtocol
from americano_pipelines.research.windows import DAY_US

LATER = 2_000_000_000_000_000
ONE = PROTOCOLS[0]


def extract_of(protocol: DemoProtocol, *, drawn: bool = True) -> Extract:
    """The extract of a demo protocol with one event a day, at noon."""
    planned = phases(protocol)
    origin = int(datetime.combine(protocol.start, time(), UTC).timestamp() * 1e6)
    starts = [(phase.first - protocol.start).days for phase in planned]
    bounds = {"randomization": {"minDays": protocol.min_days, "maxDays": protocol.max_days}} if drawn else {}
    values = daily_outcomes(protocol)
    there = np.flatnonzero(~np.isnan(values))
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
        times_us=[origin + int(day) * DAY_US + DAY_US // 2 for day in there],
        values=[float(values[day]) for day in there],
        labels=[None] * there.size,
    )


def changed(extract: Extract, index: int, **values: object) -> Extract:
    """The same with one phase changed."""
    changed_phase = extract.phases[index].model_copy(update=values)
    listed = [changed_phase if place == index else phase for place, phase in enumerate(extract.phases)]
    return extract.model_copy(update={"phases": listed})
