"""Whether a record in the archive is that of an analysis which was recorded to its end.

Here belongs only that: `recording.py` gives the MLflow run the record's hash last of all, so a record without it is
what was left by a process that died, or by an MLflow that did not take the rest.
"""

from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.recording import HASH_TAG
from americano_pipelines.tracking.store import Store
from americano_pipelines.tracking.verify.mlflow_run import MlflowRun, find_run


def vouching_run(store: Store, sha256: str, record: Record) -> MlflowRun | None:
    """The MLflow run that has a record's hash; None when its run is gone, or has not that hash.

    Raises:
        TrackingError: MLflow does not answer.
    """
    run = find_run(store, str(record.tracking["run_id"]))
    return run if run is not None and run.tags.get(HASH_TAG) == sha256 else None
