"""Write the numbers of a result, the same way wherever they are read: sentences, tables and pages.

Numbers in the units of an outcome have digits that follow their size.
"""

from collections.abc import Iterable
from math import floor, isfinite, log10

# Below 1 three digits count, and two behind the point are enough up to 1000.
_DIGITS, _LARGE = 3, 1000
# With more behind the point a number is read better with an exponent.
_MAX_DECIMALS = 8


def decimals_for(values: Iterable[float | None]) -> int:
    """The digits behind the point for numbers that are shown together: as many as the largest of them needs."""
    size = max((abs(value) for value in values if value is not None and isfinite(value)), default=0.0)
    if size == 0 or 1 <= size < _LARGE:
        return 2
    return max(0, _DIGITS - 1 - floor(log10(size)))


def format_outcome(value: float, decimals: int, *, sign: bool = False) -> str:
    """A number with so many digits behind the point; one that is not 0 never reads as 0."""
    plus = "+" if sign else ""
    text = f"{value:{plus}.{decimals}f}"
    if decimals > _MAX_DECIMALS:
        return f"{value:{plus}.{_DIGITS}g}"
    return f"{value:{plus}.2g}" if value and not float(text) else text


def interval_text(low: float | None, high: float | None, decimals: int) -> str:
    """An interval such as `6.15 to 13.90`; an end that is None is unbounded."""
    ends = ("unbounded" if end is None else format_outcome(end, decimals) for end in (low, high))
    return " to ".join(ends)


def effect_texts(effect: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    """An effect with its sign, and its interval; each is empty where there is none."""
    if effect is None:
        return "", ""
    decimals = decimals_for((effect, low, high))
    interval = "" if low is None and high is None else interval_text(low, high, decimals)
    return format_outcome(effect, decimals, sign=True), interval


def shown_p(value: float) -> str:
    """As papers print it: no zero before the point, three digits, more for what would read as zero."""
    text = f"{value:.3f}" if value >= 0.001 else f"{value:.1g}" if value < 0.0001 else f"{value:.4f}"  # noqa: PLR2004
    return text.removeprefix("0")
