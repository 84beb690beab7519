"""Find a learner in the lake. In use it follows the source; one that is not used any more goes as a whole."""

from collections.abc import Sequence

from americano_pipelines.erasure.snapshot_files import KIND, describe_rows, items_in_source, size_of_folder
from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.erasure.table_search import in_lake, owners_in_lake
from americano_pipelines.errors import LakeDamagedError
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Mode, Settings


class LakeFiles:
    """The lake, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, learner: Learner) -> list[Item]:
        """Where the lake has the learner."""
        in_use = self._settings.mode is Mode.POSTGRES
        if not in_use and not lake.holds_files(self._settings.paths):
            return []
        counts: dict[str, int] = {}
        reason = None
        try:
            counts = in_lake(self._settings, learner.id)
        except LakeDamagedError as error:
            reason = f"whether it has the learner is not known: {error}"
            if in_use:
                return [Item("lake", str(error.path), reason, ErasureAction.CANNOT_REMOVE, path=error.path)]
        if in_use:
            return items_in_source(counts, "lake: ")
        if not lake.exists(self._settings.paths):
            reason = "its manifest is missing, so what its files hold is not known"
        if counts:
            reason = describe_rows(counts)
        if reason is None:
            return []
        folder = self._settings.paths.lake
        return [
            Item(KIND, "lake", reason, names_learner=bool(counts), bytes=size_of_folder(folder), path=folder)
        ]  # fmt: skip

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Remove the lake for good; files of other programs in its folder stay."""
        if items:
            lake.clear(self._settings.paths)
        return []


def lake_owners(settings: Settings) -> dict[str, set[str]]:
    """Protocol to the ids of those who own it in the lake; empty where it cannot be read, which `find` says.

    Raises:
        ResourceError: for want of memory or disk.
    """
    try:
        return owners_in_lake(settings)
    except LakeDamagedError:
        return {}
