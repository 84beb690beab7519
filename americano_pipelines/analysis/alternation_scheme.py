"""Read the scheme of days that alternate, with a baseline phase before them and a final phase after them."""

# All phases of the alternating part record the same scheme in `interventionParams.randomization`:
#
# - `{"scheme": "days", "treatedDays": 1, "blockDays": 2, "maxRunDays": 2}`: the number of treatment days in each block,
#   the days of a block, and the most days in a row under one condition. Without `blockDays` all days of the part are
#   one block; without `maxRunDays` runs have no bound.
# - `{"scheme": "days", "daysOf": {"BASELINE": 1, "INTERVENTION_A": 1, "INTERVENTION_B": 1}, "blockDays": 3}` where
#   there are two interventions: the days of each condition in a block.
#
# A phase of the part is a run of days under one condition, of any length. The phases before and after the part record
# no scheme.

import reprlib
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from americano_pipelines.analysis.condition_contrasts import BASELINE, Contrast, side_of
from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.day_clock import MAX_DAYS

_NUMBERS = ("treatedDays", "blockDays", "maxRunDays")


def recorded_schemes(observations: Observations) -> list[dict[str, Any]]:
    """The scheme that each phase records, empty where it records none."""
    schemes = [phase.stated("randomization") for phase in observations.extract.phases]
    return [scheme if isinstance(scheme, dict) else {} for scheme in schemes]


def alternating_phases(observations: Observations) -> range:
    """The phases whose days alternate: from the first to the last that records a scheme; all where none does."""
    recorded = [index for index, scheme in enumerate(recorded_schemes(observations)) if scheme]
    return range(recorded[0], recorded[-1] + 1) if recorded else range(len(observations.timeline.windows))


def read_alternation(observations: Observations, lengths: Sequence[int], contrast: Contrast) -> Alternation:
    """The orders of days that could have been drawn, with all days that are not compared as they were.

    Args:
        observations: the protocol's days.
        lengths: days of each phase.
        contrast: the conditions that are compared.

    Raises:
        AnalysisError: the scheme is not recorded, is not understood, or does not have these conditions.
    """
    part = alternating_phases(observations)
    sides = [side_of(window.type) for window in observations.timeline.windows]
    total = sum(lengths[index] for index in part)
    scheme = _common_scheme(observations, part, total)
    block = whole_days(scheme.get("blockDays", total)) or 0
    if block < 1 or total % block:
        raise AnalysisError(f"{total} days are not a whole number of blocks of {block}")
    days_of = _days_of(scheme, {sides[index] for index in part}, block)
    if absent := [name for name in (contrast.first, contrast.second) if not days_of.get(name)]:
        raise AnalysisError(f"{contrast.words} cannot be tested, for no day of {' or '.join(absent)} was drawn")
    order = np.repeat([sides[index] for index in part], [lengths[index] for index in part])
    for number, days in enumerate(order.reshape(-1, block), start=1):
        for name in sorted(days_of.keys() - {contrast.first, contrast.second}):
            if (counted := int((days == name).sum())) != days_of[name]:
                raise AnalysisError(f"block {number} has {counted} days of {name}, and {days_of[name]} belong into it")
    longest_run = whole_days(scheme.get("maxRunDays", sum(lengths))) or 0
    for name, run in groupby(order.tolist()):
        if name not in {contrast.first, contrast.second} and (in_a_row := len(list(run))) > longest_run:
            raise AnalysisError(
                f"{in_a_row} days of {name} in a row are more than the {longest_run} that the scheme admits"
            )
    compared = [index in part and sides[index] in {contrast.first, contrast.second} for index in range(len(sides))]
    held = ~np.repeat(compared, lengths)
    first, second = days_of[contrast.first], days_of[contrast.second]
    return Alternation(sum(lengths), first, first + second, longest_run, tuple(held.tolist()) if held.any() else ())


def _common_scheme(observations: Observations, part: range, total: int) -> dict[str, Any]:
    """The scheme that all phases of the part record."""
    recorded = [recorded_schemes(observations)[index] for index in part]
    labels = [observations.labels[index] for index in part]
    scheme = next((scheme for scheme in recorded if _is_complete(scheme, total)), None)
    without = [
        label
        for label, other in zip(labels, recorded, strict=True)
        if scheme is None or other != scheme  # 7.0 and 7 are equal
    ]
    if scheme is not None and not without:
        return scheme
    by_label = zip(labels, recorded, strict=True)
    wrong = [words for label, other in by_label if (words := wrong_days(label, other, _NUMBERS))]
    where = (
        f"a number of whole days is needed ({', '.join(wrong)})"
        if wrong
        else f"it is missing or another in {', '.join(without)}"
    )
    raise AnalysisError(
        "a design of type ALTERNATING has no randomization test without its scheme: record it in "
        'interventionParams.randomization of all its phases, such as {"scheme": "days", "treatedDays": 1, '
        f'"blockDays": 2}}; {where}'
    )


def _is_complete(scheme: dict[str, Any], total: int) -> bool:
    """Whether a scheme states its days."""
    days_of = scheme.get("daysOf", {"": scheme.get("treatedDays")})
    numbers = [scheme.get(name, total) for name in ("blockDays", "maxRunDays")]
    numbers += days_of.values() if isinstance(days_of, dict) else [None]
    return scheme.get("scheme") == "days" and all(whole_days(number) is not None for number in numbers)


def _days_of(scheme: dict[str, Any], sides: set[str], block: int) -> dict[str, int]:
    """The days of each condition in a block."""
    interventions = sorted(sides - {BASELINE})
    if "daysOf" not in scheme:
        if len(interventions) != 1:
            raise AnalysisError(
                f"{' and '.join(interventions) or 'no intervention'} alternate, so the scheme has to say the days of "
                'each condition in a block, such as "daysOf": {"BASELINE": 1, "INTERVENTION_A": 1, "INTERVENTION_B": 1}'
            )
        treated = whole_days(scheme["treatedDays"]) or 0
        if not 0 < treated < block:
            raise AnalysisError("a block needs treatment and baseline days")
        return {interventions[0]: treated, BASELINE: block - treated}
    days_of: dict[str, int] = {}
    for name, days in scheme["daysOf"].items():
        side = side_of(str(name).upper())
        days_of[side] = days_of.get(side, 0) + (whole_days(days) or 0)
    if sum(days_of.values()) != block or (unnamed := sides - days_of.keys()):
        named = ", ".join(sorted(unnamed)) if sum(days_of.values()) == block else ""
        raise AnalysisError(
            f"the scheme has no days of {named}"
            if named
            else f"the days of the conditions, {sum(days_of.values())}, are not the {block} days of a block"
        )
    return days_of


def wrong_days(label: str, scheme: dict[str, Any], names: tuple[str, ...]) -> str:
    """The entries of a scheme that are no number of whole days, in words; else nothing."""
    wrong = [name for name in names if scheme.get(name) is not None and whole_days(scheme[name]) is None]
    return " and ".join(f"{name} of {label} is {reprlib.repr(scheme[name])}" for name in wrong)


def whole_days(value: object) -> int | None:
    """A recorded number of days, 7.0 like 7; None for anything else, to which true and false belong."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_DAYS:
        return None
    return int(value) if value == int(value) else None
