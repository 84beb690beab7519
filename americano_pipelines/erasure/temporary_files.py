"""Find and remove what killed processes left in temporary folders: spilled rows, copies, unfinished files."""

from collections.abc import Sequence

from americano_pipelines.common.leftovers import find_leftovers, sweep_leftovers
from americano_pipelines.erasure.snapshot_files import size_of_folder
from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.settings import Settings


class TemporaryFiles:
    """The temporary folders of ended processes, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, learner: Learner) -> list[Item]:  # noqa: ARG002 - whose rows they hold is not looked into
        """Every temporary folder whose process has ended, whatever is in it."""
        reason = "was left by a process that has ended, and may hold rows of the learner"
        return [
            Item("temporary folder", str(path), reason, bytes=size_of_folder(path), path=path)
            for path, has_owner in find_leftovers(self._settings.paths).items()
            if not has_owner
        ]

    def remove(self, items: Sequence[Item]) -> list[Item]:  # noqa: ARG002 - more may have come since
        """Remove all of them, also those that came since."""
        return [
            Item(
                "temporary folder",
                str(path),
                f"{path} is in use, and may hold rows of the learner: purge once more when its process has ended",
                ErasureAction.CANNOT_REMOVE,
                path=path,
            )
            for path in sweep_leftovers(self._settings.paths)
        ]
