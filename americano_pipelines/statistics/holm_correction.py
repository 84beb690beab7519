"""Correct p values for their number by Holm's method (1979)."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for their number: the smallest times all of them, the next times one less, and so on.

    None is smaller than one before it, or above 1.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
