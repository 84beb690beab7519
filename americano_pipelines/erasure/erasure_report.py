"""The report of an erasure: what the stores hold about a learner, what was removed and what remains."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from americano_pipelines.erasure.store import ErasureAction, Item

_HOLDING_RESULTS = frozenset({"extract", "MLflow run"})


@dataclass
class ErasureReport:
    """What the stores hold about a learner.

    Attributes:
        items: what the stores have, in their order.
        owners: protocol to the ids of those who own it, in what was kept when this began.
        removed: names of the items that were removed.
        doubtful: whether nothing was removed because nothing names the learner.
    """

    items: list[Item]
    owners: Mapping[str, set[str]]
    removed: list[str] = field(default_factory=list)
    doubtful: bool = False

    @property
    def names_learner(self) -> bool:
        """Whether anything names the learner, so that the id is a learner's."""
        return any(item.names_learner for item in self.items)

    @property
    def in_source(self) -> dict[str, int]:
        """Where the published file and the lake in use name them, to the number of rows."""
        return {item.name: item.rows or 0 for item in self._with(ErasureAction.IN_SOURCE)}

    @property
    def to_remove(self) -> list[Item]:
        """Items to remove, or already removed."""
        return self._with(ErasureAction.REMOVE)

    @property
    def problems(self) -> list[str]:
        """What could not be looked at or removed, in words."""
        return [item.reason for item in self._with(ErasureAction.CANNOT_REMOVE)]

    def remains(self) -> list[str]:
        """What is not removed, in words."""
        texts = [item.reason for item in self._with(ErasureAction.KEEP)]
        if any(item.kind in _HOLDING_RESULTS for item in self.to_remove):
            texts.append(
                "records and MLflow's numbers stay: they hold results, not events; delete the rows of analyses in the "
                "app yourself"
            )
        return texts

    def mark_removed(self, items: Iterable[Item], left: Iterable[Item]) -> None:
        """Note what a store removed, and what it could not remove."""
        left = list(left)
        names = {(item.kind, item.name) for item in left}
        self.removed += [item.name for item in items if (item.kind, item.name) not in names]
        self.items += left

    def _with(self, action: ErasureAction) -> list[Item]:
        return [item for item in self.items if item.action is action]
