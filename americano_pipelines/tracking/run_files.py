"""Files in MLflow's artifact repositories: of a run, also one that was deleted but not yet for good, or of a model.

Here belongs speaking to the repositories themselves: MLflow's client can remove no file, and can read none of a model.
Which files go is `copies.py`.
https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from americano_pipelines.errors import TrackingError
from americano_pipelines.tracking.lifecycle import search
from americano_pipelines.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

# What MLflow says of a run or model that it does not have.
NONE_SUCH = "RESOURCE_DOES_NOT_EXIST"


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
        found: dict[str, int] = {}
        folders: list[str | None] = [None]
        while folders:
            for entry in self.store.ask(self._repository.list_artifacts, folders.pop()):
                if entry.is_dir:
                    folders.append(entry.path)
                else:
                    found[str(entry.path)] = int(entry.file_size or 0)
        return dict(sorted(found.items()))

    def content(self, path: str) -> bytes:
        """The bytes of a file that is there."""
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.store.ask(self._repository.download_artifacts, path, folder)).read_bytes()

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is none to remove."""
        self.store.ask(self._repository.delete_artifacts, path)

    @property
    def _repository(self) -> "ArtifactRepository":
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return self.store.ask(get_artifact_repository, self.address, tracking_uri=self.store.uri)


@dataclass(frozen=True)
class RunFiles(ArtifactFolder):
    """The files of a run.

    Attributes:
        run: the run.
    """

    run: "Run"

    @property
    def run_id(self) -> str:
        """Its id."""
        return str(self.run.info.run_id)


def runs_with_data(store: Store) -> dict[str, RunFiles]:
    """Id to run of all in the experiment that say which extract they are of, deleted ones too.

    Raises:
        TrackingError: MLflow does not answer.
    """
    found = search(store, store.experiment_id, "tags.`data.sha256` != 'unknown'", deleted=True)
    return {run.info.run_id: RunFiles(store, run.info.artifact_uri, run) for run in found}


def find_files(store: Store, run_id: str) -> RunFiles | None:
    """The run of an id, None when there is none.

    Raises:
        TrackingError: MLflow does not answer.
    """
    try:
        run = store.ask(store.client.get_run, run_id)
    except TrackingError as error:
        if error.error_code == NONE_SUCH:
            return None
        raise
    return RunFiles(store, run.info.artifact_uri, run)
