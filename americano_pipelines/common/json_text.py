"""Decode JSON that a column or a field holds as text."""

import json

_MAX_NESTED = 3


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
