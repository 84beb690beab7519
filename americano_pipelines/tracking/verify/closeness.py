"""How close two results of the same analysis on the same input have to be.

Here belong the tolerances and why they are what they are. Counts, words and truth values must be the same. Other
numbers may differ by rounding, which another machine's linear algebra does in another order. What was estimated by
drawing is the same again only with the same generator: then it must be, else it must agree within its own error.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

RELATIVE = 1e-9
# A number near 0 may be what two numbers of the outcome's size leave when they cancel out; sums of thousands of days
# are off by some 1e-13 of that size.
ABSOLUTE_OF_SCALE = 1e-12
# What follows from draws; the observed statistic, the schedule and the verdict's state do not, or must not.
_DRAWN = re.compile(
    r"(test\.(p|p_interval|as_extreme|smallest_p|empty|interval|edges|counts)|verdict\.(why|sentence))(\.|\[|$)"
)
# Two runs of a sampler differ by more than this many standard errors once in 16,000 comparisons.
_STANDARD_ERRORS = 4
# Standard error of the 2.5 % quantile of a normal distribution in units of sd / sqrt(draws):
# sqrt(.025 * .975) / density(1.96).
_OF_QUANTILE = 2.67


@dataclass(frozen=True)
class Closeness:
    """What is asked of numbers.

    Attributes:
        absolute: how far numbers near 0 may be apart.
        same_numpy: whether draws have to be the same, for numpy is.
    """

    absolute: float
    same_numpy: bool

    @classmethod
    def of(cls, outcomes: Sequence[float | None], *, same_numpy: bool) -> "Closeness":
        """For an analysis of these outcomes."""
        finite = [abs(value) for value in outcomes if value is not None and math.isfinite(value)]
        return cls(ABSOLUTE_OF_SCALE * max([1.0, *finite]), same_numpy)


def differences(recorded: dict[str, Any], found: dict[str, Any], closeness: Closeness) -> list[tuple[str, str]]:
    """What differs by more than it may: its path in the results, and how.

    Args:
        recorded: results of the record, as JSON.
        found: results of now, as JSON.
        closeness: what is asked of numbers.
    """
    listed = list(_walk("", recorded, found, closeness.absolute))
    if "posterior" in recorded and "posterior" in found:
        listed = [one for one in listed if not one[0].startswith("posterior.")]
        return listed + list(_posterior(recorded["posterior"], found["posterior"]))
    test, again = recorded.get("test"), found.get("test")
    estimated = isinstance(test, dict) and test.get("p_interval") is not None
    if estimated and not closeness.same_numpy and isinstance(test, dict) and isinstance(again, dict):
        (low, high), p = test["p_interval"], again.get("p")
        listed = [one for one in listed if not _DRAWN.match(one[0])]
        if p is None or not low <= p <= high:
            listed.append(("test.p", f"{p} is outside the recorded 99 % interval, {low} to {high}"))
    return listed


def _walk(path: str, recorded: Any, found: Any, absolute: float) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    if isinstance(recorded, dict) and isinstance(found, dict):
        for name in recorded.keys() | found.keys():
            inside = f"{path}.{name}" if path else name
            if name not in recorded or name not in found:
                yield inside, "was not there" if name not in recorded else "is not there any more"
            else:
                yield from _walk(inside, recorded[name], found[name], absolute)
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for index, (one, other) in enumerate(zip_longest(recorded, found)):
            yield from _walk(f"{path}[{index}]", one, other, absolute)
    elif _numbers(recorded, found) and float in {type(recorded), type(found)}:
        if not math.isclose(recorded, found, rel_tol=RELATIVE, abs_tol=absolute):
            yield path, f"was {recorded!r}, is {found!r}"
    elif type(recorded) is not type(found) or recorded != found:
        yield path, f"was {_told(recorded)}, is {_told(found)}"


def _numbers(*values: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether all are numbers, to which Python's truth values belong and JSON's do not."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _told(value: Any) -> str:  # noqa: ANN401 - JSON
    return f"a list of {len(value)}" if isinstance(value, list) else repr(value)


def _posterior(recorded: dict[str, Any], found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Means and intervals of two samples of a posterior, by the standard errors of both."""
    for index, (was, now) in enumerate(zip_longest(recorded["changes"], found["changes"])):
        path = f"posterior.changes[{index}]"
        if was is None or now is None or (was["label"], was["what"]) != (now["label"], now["what"]):
            yield path, "is another change"
            continue
        mean_error, tail_error = (
            math.hypot(*(one["sd"] / math.sqrt(one[draws]) for one in (was, now))) for draws in ("ess_bulk", "ess_tail")
        )
        pairs = [("mean", was["mean"], now["mean"], mean_error)]
        pairs += [
            (f"interval[{end}]", was["interval"][end], now["interval"][end], _OF_QUANTILE * tail_error)
            for end in (0, 1)
        ]
        for name, before, after, error in pairs:
            if abs(before - after) > _STANDARD_ERRORS * error:
                yield f"{path}.{name}", f"was {before}, is {after}, and the samplers' error is {error:.3g}"
