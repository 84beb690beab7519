"""Convert results of the statistics to JSON values. It needs numpy only, for crates are verified with nothing else."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydantic import JsonValue


def jsonable(value: Any) -> "JsonValue":  # noqa: ANN401 - anything the statistics give
    """Convert a value to JSON: arrays and tuples become lists, keys text, an undefined number null."""
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
