"""An analysis's run as MLflow has it now.

Here belongs reading it, and telling a run that is gone from an MLflow that does not answer: the first is a finding,
the second an error.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from americano_pipelines.errors import TrackingError
from americano_pipelines.tracking.recording import HASH_TAG
from americano_pipelines.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import FileInfo, Run

# What the tags of a run that was opened and not yet recorded say.
UNSET = "unknown"
_GONE = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})


@dataclass(frozen=True)
class MlflowRun:
    """A run that is there.

    Attributes:
        store: where.
        run: the run, with its tags, parameters and the metrics it shows.
    """

    store: Store
    run: "Run"

    @property
    def run_id(self) -> str:
        """Its id."""
        return str(self.run.info.run_id)

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self.run.data.tags)

    @property
    def record_tag(self) -> str | None:
        """The hash of its record as its tag says it; None when it says none, or that it was never set."""
        value = self.tags.get(HASH_TAG)
        return None if value == UNSET else value

    def history(self, metric: str) -> list[tuple[int, float]]:
        """All (step, value) of a metric by step, of one step in the order they were logged."""
        points = self.store.ask(self.store.client.get_metric_history, self.run_id, metric)
        points.sort(key=lambda point: (point.step, point.timestamp))
        return [(int(point.step), float(point.value)) for point in points]

    def files(self) -> list[str]:
        """Paths of its artifacts, without those of a folder that MLflow has and cannot list.

        One link in it that leads nowhere is enough for that; what is in it can be read all the same.
        """
        found, folders = [], [""]
        while folders:
            try:
                entries = self._listed(folders.pop())
            except TrackingError:
                if self.store.lost:
                    raise
                self.store.ask(self.store.client.get_run, self.run_id)
                continue
            folders += [entry.path for entry in entries if entry.is_dir]
            found += [str(entry.path) for entry in entries if not entry.is_dir]
        return sorted(found)

    def content(self, path: str) -> bytes | None:
        """The bytes of an artifact; None when it is not there, or is a folder or a link that leads elsewhere.

        Raises:
            TrackingError: MLflow gives neither it nor the list of the folder that it should be in.
        """
        with tempfile.TemporaryDirectory() as folder:
            try:
                arrived = self.store.ask(self.store.client.download_artifacts, self.run_id, path, folder)
            except TrackingError as error:
                if self.store.lost:
                    raise
                if not _is_gone(error):
                    self._listed(path.rpartition("/")[0])
                return None
            return Path(arrived).read_bytes() if Path(arrived).is_file() else None

    def sha256(self, path: str) -> str | None:
        """Hash of an artifact, None where `content` is."""
        content = self.content(path)
        return None if content is None else hashlib.sha256(content).hexdigest()

    def _listed(self, folder: str) -> "list[FileInfo]":
        return self.store.ask(self.store.client.list_artifacts, self.run_id, folder or None)


def find_run(store: Store, run_id: str) -> MlflowRun | None:
    """The run of an id, None when there is none, or it was deleted.

    Raises:
        TrackingError: MLflow does not answer.
    """
    try:
        run = store.ask(store.client.get_run, run_id)
    except TrackingError as error:
        if _is_gone(error):
            return None
        raise
    return MlflowRun(store, run) if run.info.lifecycle_stage == "active" else None


def _is_gone(error: TrackingError) -> bool:
    """Whether MLflow answered that it has no such thing."""
    return error.error_code in _GONE
