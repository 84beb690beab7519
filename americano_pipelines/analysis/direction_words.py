"""Read the words by which plans, rows and requests say which way they test, and which way is better.

Names are compared without case, underscores, hyphens and blanks, so `betterDirection` is `better_direction`.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

Way = Literal["increase", "decrease", "either"]

IMPROVEMENT, DIRECTION = "improvement", "direction"
_NAMES = {
    **dict.fromkeys(
        ("improvement", "improvementdirection", "directionofimprovement", "better", "betterdirection",
         "desireddirection", "favorabledirection", "favourabledirection"),
        IMPROVEMENT,
    ),
    **dict.fromkeys(
        ("direction", "expecteddirection", "predicteddirection", "hypothesizeddirection", "hypothesiseddirection",
         "alternative"),
        DIRECTION,
    ),
}  # fmt: skip
# Names that say it by true or false.
_FLAGS: dict[str, tuple[Way, Way]] = {
    "higherisbetter": ("increase", "decrease"),
    "moreisbetter": ("increase", "decrease"),
    "lowerisbetter": ("decrease", "increase"),
    "lessisbetter": ("decrease", "increase"),
}
_WORDS: dict[str, Way] = {
    **dict.fromkeys(
        ("increase", "increases", "increasing", "up", "higher", "high", "more", "greater", "larger", "rise", "raise",
         "positive", "higherisbetter", "moreisbetter"),
        "increase",
    ),
    **dict.fromkeys(
        ("decrease", "decreases", "decreasing", "down", "lower", "low", "less", "fewer", "smaller", "fall", "reduce",
         "reduction", "negative", "lowerisbetter", "lessisbetter"),
        "decrease",
    ),
    **dict.fromkeys(("either", "both", "any", "twosided"), "either"),
}  # fmt: skip


def way(word: object) -> Way | None:
    """The way that a word names, None for another word."""
    return _WORDS.get(_folded(word)) if isinstance(word, str) else None


def stated_way(name: str, value: object) -> tuple[str, object] | None:
    """The parameter that an entry sets, `improvement` or `direction`, and its value; None for another entry.

    A value that names no way is returned as it is.
    """
    folded = _folded(name)
    if folded in _FLAGS and isinstance(value, bool):
        return IMPROVEMENT, _FLAGS[folded][0 if value else 1]
    parameter = _NAMES.get(folded)
    return None if parameter is None else (parameter, way(value) or value)


def with_usual_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries with the usual names and words for directions; the usual name wins over another one."""
    usual: dict[str, Any] = {}
    for name, value in values.items():
        parameter, stated = stated_way(name, value) or (name, value)
        if name == parameter or parameter not in values:
            usual.setdefault(parameter, stated)
    return usual


def _folded(text: str) -> str:
    return re.sub(r"[\s_.-]", "", text).casefold()
