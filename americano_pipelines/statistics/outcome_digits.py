"""Write numbers in the units of an outcome with digits that follow its size."""

from collections.abc import Iterable
from math import floor, isfinite, log10

# Below 1 three digits count, and two behind the point are enough up to 1000.
_DIGITS, _LARGE = 3, 1000
# With more behind the point a number is read better with an exponent.
_MOST_DECIMALS = 8


def decimals_for(values: Iterable[float | None]) -> int:
    """The digits behind the point for numbers that are shown together: as many as the largest of them needs."""
    size = max((abs(value) for value in values if value is not None and isfinite(value)), default=0.0)
    if size == 0 or 1 <= size < _LARGE:
        return 2
    return max(0, _DIGITS - 1 - floor(log10(size)))


def in_units(value: float, decimals: int, *, sign: bool = False) -> str:
    """A number with so many digits behind the point; one that is not 0 never reads as 0."""
    plus = "+" if sign else ""
    text = f"{value:{plus}.{decimals}f}"
    if decimals > _MOST_DECIMALS:
        return f"{value:{plus}.{_DIGITS}g}"
    return f"{value:{plus}.2g}" if value and not float(text) else text
