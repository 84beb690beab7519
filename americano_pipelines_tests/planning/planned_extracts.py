"""Extracts of planned experiments, recorded as `americano plan draw` says."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.planning.planned_design import PlannedDesign
from americano_pipelines.planning.schedule_draw import DrawnPhase, intervention_params
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.prefix_sums import Values

FIRST_DAY = date(2027, 1, 4)
BEGINS_US = int(datetime.combine(FIRST_DAY, time(), UTC).timestamp() * 1e6)


def planned_extract(
    design: PlannedDesign, drawn: Sequence[DrawnPhase], plan: dict[str, JsonValue], values: Values | None = None
) -> Extract:
    """The extract of an experiment whose phases were recorded as they were drawn.

    Args:
        design: the design.
        drawn: its phases.
        plan: the parameters of the planned analysis.
        values: of each day, NaN where it has none; None before the first day.
    """
    return recorded_extract(design.recorded_as, drawn, intervention_params(design, drawn, plan, 7), values)


def recorded_extract(
    design: str,
    drawn: Sequence[DrawnPhase],
    recorded: Sequence[dict[str, JsonValue]],
    values: Values | None,
    *,
    protocol_id: str = "drawn",
) -> Extract:
    """The extract of a protocol.

    Args:
        design: as the app has it.
        drawn: its phases.
        recorded: the `interventionParams` of each phase.
        values: of each day, NaN where it has none; None before the first day.
        protocol_id: its id.
    """
    days = np.flatnonzero(~np.isnan(values)) if values is not None else np.array([], dtype=np.int64)
    return Extract(
        outcome="score",
        protocol=Protocol(
            protocol_id=protocol_id,
            learner="learner-x",
            name=None,
            design=design,
            primary_outcome="score",
            starts_us=BEGINS_US,
            ends_us=None,
            plan=None,
            deviations=None,
        ),
        phases=[
            Phase(
                phase_id=phase.label,
                label=phase.label,
                type=phase.type,
                starts_us=BEGINS_US + (phase.first_day - 1) * DAY_US,
                ends_us=None,
                planned_days=phase.days,
                parameters=parameters,
                seed=7,
            )
            for phase, parameters in zip(drawn, recorded, strict=True)
        ],
        times_us=[BEGINS_US + int(day) * DAY_US + DAY_US // 2 for day in days],
        values=[] if values is None else values[days].tolist(),
        labels=[None] * days.size,
    )
