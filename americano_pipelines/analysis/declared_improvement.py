"""Find which way of the outcome is better: what parameters, plan and protocol declare."""

# `improvement` states it. Without it, the test's declared direction counts as better. Declarations that differ are
# named, and none of them counts.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from americano_pipelines.analysis.direction_words import DIRECTION, IMPROVEMENT, parse_direction, parse_direction_entry
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.statistics.randomization_test import Direction
from americano_pipelines.statistics.verdict import UNDECLARED


@dataclass(frozen=True)
class DeclaredImprovement:
    """Which way is better, and who says so.

    Attributes:
        better: the way; None where none is declared or the declarations differ.
        declarations: the source of each declaration and what it says.
        undeclared: the reason that no way is better; empty where one is.
    """

    better: Direction | None
    declarations: tuple[tuple[str, str], ...]
    undeclared: str = ""


def declared_improvement(
    extract: Extract, improvement: str | None, direction: str | None = None
) -> DeclaredImprovement:
    """Find the declaration.

    Args:
        extract: the protocol with its plan.
        improvement: the parameter, None where it is not stated.
        direction: the direction that the test looks at, None for an analysis that tests nothing.
    """
    explicit = list(dict.fromkeys(_explicit(extract, improvement)))
    declarations = explicit or list(dict.fromkeys(_by_direction(extract, direction)))
    ways = {parse_direction(value) for _, value in declarations}
    if not declarations:
        return DeclaredImprovement(None, (), UNDECLARED)
    if len(ways) == 1 and (better := next(iter(ways))) in ("increase", "decrease"):
        return DeclaredImprovement(better, tuple(declarations))
    named = ", ".join(f"{source}: {value}" for source, value in declarations)
    reason = (
        f"what is declared as better is no direction ({named})"
        if len(ways) == 1 or None in ways
        else f"the declarations of which way is better differ ({named})"
    )
    return DeclaredImprovement(None, tuple(declarations), reason)


def _explicit(extract: Extract, improvement: str | None) -> Iterator[tuple[str, str]]:
    if improvement is not None:
        yield "parameter improvement", improvement
    if extract.protocol.improvement is not None:
        yield "protocol", str(parse_direction(extract.protocol.improvement) or extract.protocol.improvement)
    for label, parameter, value in _of_phases(extract):
        if parameter == IMPROVEMENT:
            yield label, value


def _by_direction(extract: Extract, direction: str | None) -> Iterator[tuple[str, str]]:
    if direction in ("increase", "decrease"):
        yield "parameter direction", str(direction)
    for label, parameter, value in _of_phases(extract):
        if parameter == DIRECTION and value != "either":
            yield f"{label}, direction", value


def _of_phases(extract: Extract) -> Iterator[tuple[str, str, str]]:
    """What the phases state: where, which parameter, and its value; of all phases alike it is the plan."""
    stated: dict[tuple[str, str], list[str]] = {}
    for phase in extract.phases:
        for entry in dict.fromkeys(_entries(phase.parameters)):
            stated.setdefault(entry, []).append(str(phase.label))
    for (parameter, value), labels in stated.items():
        alike = len(labels) == len(extract.phases)
        yield "plan" if alike else f"plan of {', '.join(labels)}", parameter, value


def _entries(parameters: object) -> Iterator[tuple[str, str]]:
    """The directions of one phase's parameters, from the plan and beside it."""
    if not isinstance(parameters, Mapping):
        return
    plan: Any = parameters.get("analysis")
    for name, value in (plan if isinstance(plan, Mapping) else {}).items():
        entry = parse_direction_entry(str(name), value)
        if entry is not None and value is not None:
            yield entry[0], str(entry[1])
    for name, value in parameters.items():
        entry = parse_direction_entry(str(name), value)
        # Beside the plan the same name may be about anything: {"alternative": "flashcards"}.
        if entry is not None and parse_direction(entry[1]) is not None:
            yield entry[0], str(entry[1])
