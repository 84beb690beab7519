"""Describe a changing criterion design: how near the days of each phase lay to its criterion."""

# Each phase with a criterion records it in `interventionParams.criterion`, a number in the outcome's unit. A phase
# without one, such as a baseline, is not described.

import math
import reprlib

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.statistics.missing_days import MissingDays
from americano_pipelines.statistics.randomization_test import Direction


def criteria_of(observations: Observations) -> list[float | None]:
    """The criterion of each phase, None where it records no finite number."""
    stated = [phase.stated("criterion") for phase in observations.extract.phases]
    return [
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        else None
        for value in stated
    ]


def wrong_criteria(observations: Observations) -> list[str]:
    """What phases record as a criterion that is no finite number, in words."""
    stated = [phase.stated("criterion") for phase in observations.extract.phases]
    return [
        f"{label}: {reprlib.repr(value)}"
        for label, value, criterion in zip(observations.labels, stated, criteria_of(observations), strict=True)
        if value is not None and criterion is None
    ]


def criteria_lead(observations: Observations) -> Direction | None:
    """The way from the first criterion to the last; None where both are the same."""
    stated = [criterion for criterion in criteria_of(observations) if criterion is not None]
    if not stated or stated[0] == stated[-1]:
        return None
    return "increase" if stated[-1] > stated[0] else "decrease"


def outcome_moves(observations: Observations) -> Direction | None:
    """The way from the mean of the first phase to that of the last; None where they are the same or have no value."""
    first, last = (observations.phase_values(place, missing=False) for place in (0, len(observations.labels) - 1))
    if not first.size or not last.size or first.mean() == last.mean():
        return None
    return "increase" if last.mean() > first.mean() else "decrease"


def criterion_doubts(observations: Observations, missing: MissingDays) -> tuple[str, ...]:
    """Why a test that rejects gives no verdict: its p says that the days lie near their own criteria, and no more.

    Args:
        observations: the protocol's days.
        missing: its days without a value; which of them are missing may depend on the criteria.
    """
    number, days = missing.treatment_missing + missing.baseline_missing, missing.treatment_days + missing.baseline_days
    doubts = []
    way = criteria_lead(observations)
    if outcome_moves(observations) != way:
        doubts.append(f"from the first phase to the last the outcome does not {way} as the criteria do")
    if number:
        doubts.append(f"{number} of {days} days have no value, and missing days cannot be compared with criteria")
    return tuple(doubts)


def conformity(observations: Observations, band: float | None) -> list[JsonValue]:
    """Each phase with a criterion: days, mean distance from it, and the share of days within the band.

    Args:
        observations: the protocol's days.
        band: days count as within if they are no farther from the criterion; None leaves the share out.
    """
    rows: list[JsonValue] = []
    for place, (label, criterion) in enumerate(zip(observations.labels, criteria_of(observations), strict=True)):
        if criterion is None:
            continue
        distances = np.abs(observations.phase_values(place, missing=False) - criterion)
        share = float((distances <= band).mean()) if distances.size and band is not None else None
        rows.append(
            {
                "phase": label,
                "criterion": criterion,
                "days with a value": int(distances.size),
                "mean distance": float(distances.mean()) if distances.size else None,
                "band": band,
                "share within the band": share,
            }
        )
    return rows
