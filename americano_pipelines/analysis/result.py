"""The result of any analysis: a sentence, JSON, figures and a methods paragraph."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import JsonValue


@dataclass(frozen=True)
class Analysis:
    """What came out.

    Attributes:
        name: which analysis.
        version: of it; another one may give other numbers.
        sentence: what was found, for people.
        results: all of it, as JSON.
        pictures: file name to PNG.
        methods: how it was done, as a paper could print it.
        verdict: the state of the verdict: `benefit`, `harm`, `not shown` or `no verdict`; None for an analysis that
            judges nothing.
        numbers: the key numbers by a short name, as metrics of a run; None where one is undefined.
        seed: of the random numbers it drew, None when it drew none.
        generator: their generator, likewise.
    """

    name: str
    version: str
    sentence: str
    results: dict[str, JsonValue]
    pictures: dict[str, bytes]
    methods: str
    verdict: str | None
    numbers: dict[str, float | None]
    seed: int | None = None
    generator: str | None = None


def jsonable(value: Any) -> JsonValue:  # noqa: ANN401 - anything the statistics give
    """The same as JSON: arrays and tuples as lists, keys as text, an undefined number as null."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [jsonable(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return None if value is None else str(value)
