"""Find which way of the outcome is better: what parameters, plan and protocol declare."""

# `improvement` states it. Without it, the test's declared direction counts as better. Declarations that differ are
# named, and none of them counts.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from americano_pipelines.analysis.direction_words import (
    DIRECTION,
    IMPROVEMENT,
    direction_problem,
    parse_direction,
    parse_direction_entry,
)
from americano_pipelines.analysis.extract import UNREAD_PLAN_NOTE, Extract, Phase
from americano_pipelines.common.hashing import decode_json_text
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
    if problem := _direction_problem(extract):
        return DeclaredImprovement(None, tuple(dict.fromkeys(_all_entries(extract))), problem)
    explicit = list(dict.fromkeys(_explicit(extract, improvement)))
    declarations = explicit or list(dict.fromkeys(_by_direction(extract, direction)))
    ways = {parse_direction(value) for _, value in declarations}
    if not declarations:
        beside = f"; {UNREAD_PLAN_NOTE}" if _declares_beside(extract) else ""
        return DeclaredImprovement(None, (), f"{UNDECLARED}{beside}")
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


def _direction_problem(extract: Extract) -> str:
    """Why the plan does not say which way the test looks; else nothing."""
    plans = [plan for phase in extract.phases if isinstance(plan := phase.stated("analysis"), Mapping)]
    problems = dict.fromkeys(direction_problem(plan) for plan in plans)
    return "; ".join(f"in the plan {problem}" for problem in problems if problem)


def _all_entries(extract: Extract) -> Iterator[tuple[str, str]]:
    for label, parameter, value in _of_phases(extract):
        yield f"{label}, {parameter}", value


def _declares_beside(extract: Extract) -> bool:
    """Whether the analysisPlan, which is for people, is JSON that names a direction."""
    plan = decode_json_text(extract.protocol.plan)
    return isinstance(plan, Mapping) and any(parse_direction_entry(str(name), plan[name]) for name in plan)


def _of_phases(extract: Extract) -> Iterator[tuple[str, str, str]]:
    """What the phases state: where, which parameter, and its value; of all phases alike it is the plan."""
    stated: dict[tuple[str, str], list[str]] = {}
    for phase in extract.phases:
        for entry in dict.fromkeys(_entries(phase)):
            stated.setdefault(entry, []).append(str(phase.label))
    for (parameter, value), labels in stated.items():
        alike = len(labels) == len(extract.phases)
        yield "plan" if alike else f"plan of {', '.join(labels)}", parameter, value


def _entries(phase: Phase) -> Iterator[tuple[str, str]]:
    """The directions of one phase's parameters, from the plan and beside it."""
    parameters, plan = phase.stated_parameters, phase.stated("analysis")
    for name, value in (plan if isinstance(plan, Mapping) else {}).items():
        entry = parse_direction_entry(str(name), value)
        if entry is not None and value is not None:
            yield entry[0], str(entry[1])
    for name, value in (parameters if isinstance(parameters, Mapping) else {}).items():
        entry = parse_direction_entry(str(name), value)
        # Beside the plan the same name may be about anything: {"alternative": "flashcards"}.
        if entry is not None and parse_direction(entry[1]) is not None:
            yield entry[0], str(entry[1])
