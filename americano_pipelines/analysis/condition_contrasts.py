"""Read which pairs of conditions an analysis compares."""

from dataclasses import dataclass
from typing import Any

BASELINE = "BASELINE"
# A withdrawal is the time without the treatment after it: a baseline.
_SIDES = {"BASELINE": BASELINE, "WITHDRAWAL": BASELINE}
_PAIR = 2


@dataclass(frozen=True)
class Contrast:
    """Two conditions that are compared: the first less the second.

    Attributes:
        first: a type of phases, such as `INTERVENTION_A`.
        second: another type, or `BASELINE`, to which a withdrawal belongs.
    """

    first: str
    second: str

    @property
    def name(self) -> str:
        """As the parameter `contrasts` has it."""
        return f"{self.first}-{self.second}"

    @property
    def words(self) -> str:
        """As sentences have it."""
        return f"{self.first} against {self.second}"


def side_of(phase_type: str) -> str:
    """The condition that a type of phases belongs to in a contrast."""
    return _SIDES.get(phase_type, phase_type)


def parse_contrasts(value: Any) -> str | None:  # noqa: ANN401 - JSON, or a text
    """The contrasts as one text, such as `INTERVENTION_A-BASELINE, INTERVENTION_B-INTERVENTION_A`.

    Args:
        value: that text, or a list of pairs; None and a text or list without pairs are None.

    Raises:
        ValueError: it is neither, or a pair has not two different conditions, begins with the baseline, or comes twice.
    """
    pairs = [text.split("-") for text in value.split(",") if text.strip()] if isinstance(value, str) else value or []
    contrasts = []
    if not isinstance(pairs, list | tuple):
        raise ValueError("contrasts are pairs of conditions, such as INTERVENTION_A-BASELINE")  # noqa: TRY004 - pydantic
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != _PAIR or not all(isinstance(part, str) for part in pair):
            raise ValueError(f"{pair!r} is no pair of conditions, such as INTERVENTION_A-BASELINE")
        first, second = (side_of(part.strip().upper()) for part in pair)
        if {*first, *second} & {"-", ","}:
            raise ValueError(f"{pair!r} is no pair of conditions, whose names have neither - nor a comma")
        if not first or not second or first in {second, BASELINE}:
            raise ValueError(f"{first}-{second} compares no condition with another one; the baseline comes second")
        contrasts.append(Contrast(first, second).name)
    if len(contrasts) != len({frozenset(name.split("-")) for name in contrasts}):
        raise ValueError("a pair of conditions comes twice")
    return ", ".join(contrasts) or None


def contrasts_of(text: str | None) -> tuple[Contrast, ...]:
    """The contrasts of a parsed text; the first is the primary one."""
    return tuple(Contrast(*name.split("-")) for name in text.split(", ")) if text else ()
