"""Write times, numbers and values as the pages show them."""

import math
from collections.abc import Mapping
from typing import Any

from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.statistics.outcome_digits import effect_texts, shown_p
from americano_pipelines.text_output import size_text

NONE = "\N{EN DASH}"
_DAY_CHARACTERS, _MINUTE_CHARACTERS = 10, 16


def day(text: str | None) -> str:
    """The day of an ISO 8601 time."""
    return NONE if text is None else text[:_DAY_CHARACTERS]


def minute(text: str | None) -> str:
    """Day and minute of an ISO 8601 time in UTC."""
    return NONE if text is None else text[:_MINUTE_CHARACTERS].replace("T", " ")


def number(value: Any) -> str:  # noqa: ANN401 - JSON
    """A number with at most four significant digits; whole numbers with separators."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and math.isfinite(value)):
        return f"{int(value):,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def effect(numbers: Mapping[str, float | None]) -> str:
    """An effect with its interval, in digits that follow their size."""
    text, interval = effect_texts(*(numbers[name] for name in ("effect", "interval_low", "interval_high")))
    return f"{text} ({interval})" if interval else text or NONE


def p_value(value: float | None) -> str:
    """A p value, as sentences and tables have it."""
    return NONE if value is None else shown_p(value)


def kind(name: str | None) -> str:
    """A kind of analysis in words."""
    if name is None:
        return NONE
    listed = PROTOCOL_KINDS.get(name.lower())
    return listed.title if listed else name.replace("_", " ").lower()


def shown(value: Any) -> str:  # noqa: ANN401 - JSON
    """Any value of a record, short."""
    if value is None:
        return NONE
    if isinstance(value, list | tuple):
        texts = [shown(item) for item in value[:12]]
        return (", ".join(texts) or "none") + (f" … ({len(value)} in all)" if len(value) > len(texts) else "")
    if isinstance(value, dict):
        return "; ".join(f"{name}: {shown(item)}" for name, item in value.items())
    return number(value) if isinstance(value, bool | int | float) else str(value)


FILTERS = {
    **{function.__name__: function for function in (day, minute, number, effect, p_value, kind, shown)},
    "size": size_text,
}
