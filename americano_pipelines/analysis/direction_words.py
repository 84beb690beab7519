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
# Names of the way that the test looks; the others name what is expected.
_TEST_WORDS = frozenset({"direction", "alternative"})
# Names that say it by true or false.
_FLAGS: dict[str, tuple[Way, Way]] = {
    "higherisbetter": ("increase", "decrease"),
    "moreisbetter": ("increase", "decrease"),
    "lowerisbetter": ("decrease", "increase"),
    "lessisbetter": ("decrease", "increase"),
}
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_WORDS: dict[str, Way] = {
    **dict.fromkeys(
        ("increase", "increases", "increasing", "up", "higher", "high", "more", "greater", "larger", "rise", "raise",
         "positive", "higherisbetter", "moreisbetter", "higherbetter", "morebetter", "greaterthan", "upward", "upwards",
         "maximize", "maximise"),
        "increase",
    ),
    **dict.fromkeys(
        ("decrease", "decreases", "decreasing", "down", "lower", "low", "less", "fewer", "smaller", "fall", "reduce",
         "reduction", "negative", "lowerisbetter", "lessisbetter", "fewerisbetter", "smallerisbetter", "lowerbetter",
         "lessbetter", "lessthan", "downward", "downwards", "minimize", "minimise"),
        "decrease",
    ),
    **dict.fromkeys(
        ("either", "both", "any", "twosided", "twotailed", "2sided", "2tailed", "nondirectional", "undirected",
         "notequal", "unequal"),
        "either",
    ),
}  # fmt: skip


def parse_direction(word: object) -> Way | None:
    """The way that a word names, None for another word."""
    return _WORDS.get(_folded(word)) if isinstance(word, str) else None


def is_direction(name: str) -> bool:
    """Whether an entry of this name says which way a test looks, or what is expected of it."""
    return _NAMES.get(_folded(name)) == DIRECTION


def parse_direction_entry(name: str, value: object) -> tuple[str, object] | None:
    """The parameter that an entry sets, `improvement` or `direction`, and its value; None for another entry.

    A value that names no way is returned as it is.
    """
    folded = _folded(name)
    if folded in _FLAGS:
        true = value if isinstance(value, bool) else _TRUTHS.get(_folded(str(value)))
        return IMPROVEMENT, f"{name}: {value}" if true is None else _FLAGS[folded][0 if true else 1]
    parameter = _NAMES.get(folded)
    return None if parameter is None else (parameter, parse_direction(value) or value)


def normalize_direction_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries with the usual names and words for directions; the usual name wins over another one."""
    usual: dict[str, Any] = {}
    for name, value in values.items():
        parameter, stated = parse_direction_entry(name, value) or (name, value)
        if name == parameter or parameter not in values:
            usual.setdefault(parameter, stated)
    return usual


def direction_problem(values: Mapping[str, Any]) -> str:
    """Why the entries do not say which way a test looks: a word that is not known, or ways that differ; else nothing.

    An expected direction beside a two-sided test is no contradiction.
    """
    stated = {
        name: (parse_direction(value), value)
        for name, value in values.items()
        if value is not None and is_direction(name)
    }
    named = ", ".join(f"{name}: {value}" for name, (_, value) in stated.items())
    ways = {way for way, _ in stated.values()}
    sides = {way for name, (way, _) in stated.items() if _folded(name) in _TEST_WORDS}
    if None in ways:
        return f"the direction is not understood ({named})"
    if {"increase", "decrease"} <= ways or len(sides) > 1:
        return f"the directions contradict each other ({named})"
    return ""


def _folded(text: str) -> str:
    return re.sub(r"[\s_.-]", "", text).casefold()
