"""Read the artifacts, tags and metrics of MLflow runs.

MLflow's client can remove no file, and can read none of a model, so this module talks to the repositories.
Tell a run that is gone from an MLflow that does not answer: the first is a finding, the second an error.

https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.common.temporary_folders import reader_temporary_folder
from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.client import NOT_FOUND_CODE, Store
from americano_pipelines.mlflow_store.runs import record_hash, search

if TYPE_CHECKING:
    from mlflow.entities import FileInfo, Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository


class Artifact(FrozenModel):
    """A file that an analysis made."""

    sha256: str
    bytes: int


_NOT_FOUND = frozenset({NOT_FOUND_CODE, "INVALID_PARAMETER_VALUE"})


@dataclass(frozen=True)
class ArtifactFolder:
    """Where files lie. Every method raises TrackingError when MLflow does not answer or refuses.

    Attributes:
        store: the MLflow.
        address: of the folder, as MLflow has it.
    """

    store: Store
    address: str

    def sizes(self) -> dict[str, int]:
        """Path to bytes of every file."""
        size_of: dict[str, int] = {}
        folders: list[str | None] = [None]
        while folders:
            for entry in self.store.call(self.repository.list_artifacts, folders.pop()):
                if entry.is_dir:
                    folders.append(entry.path)
                else:
                    size_of[str(entry.path)] = int(entry.file_size or 0)
        return dict(sorted(size_of.items()))

    def content(self, path: str) -> bytes:
        """The bytes of a file that is there."""
        with reader_temporary_folder(self.store.temporary_dir, "download") as folder:
            return Path(self.store.call(self.repository.download_artifacts, path, str(folder))).read_bytes()

    def remove(self, path: str) -> None:
        """Remove a file; do nothing if it is gone already."""
        self.store.call(self.repository.delete_artifacts, path)

    @property
    def repository(self) -> "ArtifactRepository":
        """MLflow's access to it."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return self.store.call(get_artifact_repository, self.address, tracking_uri=self.store.uri)


@dataclass(frozen=True)
class MlflowRun:
    """A run of MLflow, to read.

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
    def folder(self) -> ArtifactFolder:
        """The folder of its artifacts."""
        return ArtifactFolder(self.store, self.run.info.artifact_uri)

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self.run.data.tags)

    @property
    def record_tag(self) -> str | None:
        """The hash of its record, from its tag; None if the tag is missing or was never set."""
        return record_hash(self.run)

    def history(self, metric: str) -> list[tuple[int, float]]:
        """All (step, value) of a metric by step, of one step in the order they were logged."""
        points = self.store.call(self.store.client.get_metric_history, self.run_id, metric)
        points.sort(key=lambda point: (point.step, point.timestamp))
        return [(int(point.step), float(point.value)) for point in points]

    def files(self) -> list[str]:
        """Paths of its artifacts, without those of a folder that MLflow has and cannot list.

        One link in it that leads nowhere is enough for that; what is in it can be read all the same.
        """
        paths, folders = [], [""]
        while folders:
            try:
                entries = self._listed(folders.pop())
            except TrackingError:
                self.store.call(self.store.client.get_run, self.run_id)
                continue
            folders += [entry.path for entry in entries if entry.is_dir]
            paths += [str(entry.path) for entry in entries if not entry.is_dir]
        return sorted(paths)

    def content(self, path: str) -> bytes | None:
        """The bytes of an artifact; None when it is not there, or is a folder or a link that leads elsewhere.

        Raises:
            TrackingError: MLflow gives neither it nor the list of the folder that it should be in.
        """
        # Not by the run's id: MLflow then looks for the run again and for its models, twice the time of the file.
        repository = self.folder.repository
        with reader_temporary_folder(self.store.temporary_dir, "download") as folder:
            try:
                arrived = self.store.call(repository.download_artifacts, path, str(folder))
            except TrackingError as error:
                if not _is_gone(error):
                    self._listed(path.rpartition("/")[0])
                return None
            return Path(arrived).read_bytes() if Path(arrived).is_file() else None

    def sha256(self, path: str) -> str | None:
        """Hash of an artifact, None where `content` is."""
        content = self.content(path)
        return None if content is None else sha256_hex(content)

    def _listed(self, folder: str) -> "list[FileInfo]":
        return self.store.call(self.store.client.list_artifacts, self.run_id, folder or None)


def find_run(store: Store, run_id: str, *, deleted: bool = False) -> MlflowRun | None:
    """The run of an id; None when MLflow has none, or, unless asked for, only a deleted one.

    Raises:
        TrackingError: MLflow does not answer.
    """
    try:
        run = store.call(store.client.get_run, run_id)
    except TrackingError as error:
        if _is_gone(error):
            return None
        raise
    return MlflowRun(store, run) if deleted or run.info.lifecycle_stage == "active" else None


def runs_with_data(store: Store) -> dict[str, MlflowRun]:
    """The runs of the experiment whose tags name an extract, by id, deleted ones too.

    Raises:
        TrackingError: MLflow does not answer.
    """
    runs = search(store, store.experiment_id, "tags.`data.sha256` != 'unknown'", deleted=True)
    return {run.info.run_id: MlflowRun(store, run) for run in runs}


def _is_gone(error: TrackingError) -> bool:
    """Whether MLflow answered that it has no such thing."""
    return error.error_code in _NOT_FOUND
