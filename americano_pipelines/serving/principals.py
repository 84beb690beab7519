"""Describe the requesting principal: what they may do, and whose rows they may see."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_LEARNER, _TENANT = "learner:", "tenant:"


class Scope(StrEnum):
    """What a key or token permits."""

    READ = "read"
    LEARNER = "learner"
    TRIGGER = "trigger"
    OPERATOR = "operator"
    ADMIN = "admin"


ROW_SCOPES = frozenset({Scope.READ, Scope.LEARNER, Scope.ADMIN})
"""The scopes with which rows can be read."""


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes among names; other names are ignored."""
    known = {scope.value: scope for scope in Scope}
    return frozenset(known[name] for name in names if name in known)


@dataclass(frozen=True)
class Principal:
    """The requesting principal.

    Attributes:
        name: for logs and limits; it holds no secret and no learner's id.
        scopes: what they may do.
        tenants: the tenants whose learners a researcher sees, None for all.
        learner: the learner whose rows the scope `learner` shows.
    """

    name: str
    scopes: frozenset[Scope]
    tenants: tuple[str, ...] | None = None
    learner: str | None = None

    @property
    def visible(self) -> list[str] | None:
        """Whose rows they see, as statements take it: `tenant:...` and `learner:...`; None for everybody's.

        An empty list shows no row.
        """
        if Scope.ADMIN in self.scopes or (Scope.READ in self.scopes and self.tenants is None):
            return None
        entries = []
        if Scope.READ in self.scopes:
            entries += [f"{_TENANT}{tenant}" for tenant in self.tenants or ()]
        if Scope.LEARNER in self.scopes and self.learner is not None:
            entries.append(f"{_LEARNER}{self.learner}")
        return sorted(entries)

    def least_learners(self, setting: int) -> int:
        """How many learners a count must be about; 0 where all counted rows are the principal's own, and for admins.

        Args:
            setting: AMERICANO_MIN_LEARNERS.
        """
        return 0 if Scope.ADMIN in self.scopes or Scope.READ not in self.scopes else setting
