"""Convert values to JSON and back. It needs numpy only, for crates are verified with nothing else."""

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydantic import JsonValue

_MAX_NESTED = 3


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


def decode_json_text(value: object) -> object:
    """The object that a text holds as JSON, also as JSON within JSON; any other value as it is."""
    decoded = value
    for _ in range(_MAX_NESTED):
        if not isinstance(decoded, str):
            break
        try:
            decoded = json.loads(decoded)
        except (ValueError, RecursionError):
            return value
    return decoded if isinstance(decoded, dict) else value
