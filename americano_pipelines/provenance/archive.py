"""Keep records and extracts as files that are named by their hash and written once."""

from collections.abc import Iterator
from pathlib import Path

from americano_pipelines.common import atomic_files
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import AnalysisError, ResourceError, TamperedError, system_words
from americano_pipelines.mlflow_store.artifacts import MlflowRun, find_run
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import HASH_TAG
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import DataFolder


def put(folder: Path, content: bytes, mode: int = 0o400) -> tuple[Path, str]:
    """Write a content-addressed file, durably and read-only; one that is there already is left as it is.

    Args:
        folder: where.
        content: its bytes.
        mode: who may read it, see `common.file_permissions.file_mode`.

    Returns:
        Its path and the hash that is its name.

    Raises:
        TamperedError: a file of that name is there, but holds something else.
        ResourceError: it cannot be written; nothing of it is left behind.
    """
    name = sha256_hex(content)
    path = folder / f"{name}.json"
    if path.exists():
        get(folder, name)
        return path, name
    try:
        with atomic_files.atomic_write_path(path) as aside:
            aside.write_bytes(content)
            aside.chmod(mode)
    except OSError as error:
        raise ResourceError(f"{path} cannot be written: {system_words(error)}, and run this again") from error
    return path, name


def get(folder: Path, sha256: str) -> bytes:
    """The content of a kept file.

    Raises:
        FileNotFoundError: there is none of that name.
        TamperedError: its bytes are not the ones it was named by, or it is a folder.
    """
    path = folder / f"{sha256}.json"
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        raise TamperedError(f"{path} was changed after it was written: it is a folder now") from None
    actual = sha256_hex(content)
    if actual != sha256:
        raise TamperedError(f"{path} was changed after it was written: its hash is {actual} now")
    return content


def records(paths: DataFolder) -> Iterator[tuple[str, Record]]:
    """Every intact record with its hash, in no order."""
    for path in list(paths.records.glob("[!.]*.json")):
        try:
            yield path.stem, Record.parse(get(paths.records, path.stem))
        except (TamperedError, AnalysisError, OSError):
            continue


def confirming_run(store: Store, sha256: str, record: Record) -> MlflowRun | None:
    """The MLflow run that has a record's hash; None when its run is gone, or has not that hash.

    The recorder sets the hash last of all, so a record whose run lacks it was left by a process that died.

    Raises:
        TrackingError: MLflow does not answer.
    """
    run = find_run(store, str(record.tracking["run_id"]))
    return run if run is not None and run.tags.get(HASH_TAG) == sha256 else None
