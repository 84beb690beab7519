"""Combine one-sided p values of independent tests: Edgington's sum, and Stouffer's mean of normal deviates.

p values of randomization tests are discrete, and never more often small than uniform ones; so both keep the level.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import comb, factorial, floor, sqrt

from americano_pipelines.errors import AnalysisError


def edgington(p_values: Sequence[float]) -> float:
    """The probability that as many uniform numbers have a sum as small as these p values: Edgington (1972).

    Exact: in floating point the terms, which alternate in sign, would cancel from some 20 tests on.

    Args:
        p_values: one-sided, towards the same hypothesis; shape (tests,).

    Raises:
        AnalysisError: there are none, or one is no probability.
    """
    _check(p_values)
    total, number = sum((Fraction(p) for p in p_values), Fraction(0)), len(p_values)
    terms = ((-1) ** j * comb(number, j) * (total - j) ** number for j in range(floor(total) + 1))
    return float(sum(terms, Fraction(0)) / factorial(number))


def stouffer(p_values: Sequence[float]) -> float:
    """The p of the sum of normal deviates, each of the same weight: Stouffer et al. (1949).

    A p of 1 has an infinite deviate, and makes the combined p 1.

    Args:
        p_values: as of `edgington`.

    Raises:
        AnalysisError: as `edgington`.
    """
    from scipy.stats import norm

    _check(p_values)
    if max(p_values) == 1:
        return 1.0
    return float(norm.sf(sum(norm.isf(p_values)) / sqrt(len(p_values))))


def _check(p_values: Sequence[float]) -> None:
    if not p_values or any(not 0 < p <= 1 for p in p_values):
        raise AnalysisError(f"these are no p values to combine: {list(p_values)}")
