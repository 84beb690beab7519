"""Find the prior analyses of a protocol, in the archive and in MLflow.

One of them is not enough: a record can be removed from the archive, and runs can be deleted in MLflow.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from americano_pipelines.analysis.preregistration import PriorRun, PriorRuns
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import HASH_TAG, PARENT_TAG, search
from americano_pipelines.provenance.archive import record_files, records
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS

if TYPE_CHECKING:
    from americano_pipelines.mlflow_store.runs import Run


_PARTITION, _ASSET, _UNKNOWN = "dagster.partition", "dagster.asset_key", "unknown"


def find_prior_runs(settings: Settings, store: Store, protocol_id: str, run_id: str) -> PriorRuns:
    """The analyses of a protocol before the one whose MLflow run this is.

    A record whose MLflow run never got its hash was left by a process that died while it recorded: nobody was given
    that result, so it takes nothing from the next one, but it is counted.

    Args:
        settings: whose archive.
        store: MLflow.
        protocol_id: the protocol.
        run_id: the run that is under way.

    Raises:
        TrackingError: MLflow does not answer.
    """
    runs = {run.info.run_id: run for run in _runs(store, protocol_id) if run.info.run_id != run_id}
    # Listed first: a record that somebody writes meanwhile is none that was changed.
    names, intact = {path.stem for path in record_files(settings)}, dict(records(settings))
    recorded = []
    for record in intact.values():
        if record.identity.protocol_id != protocol_id:
            continue
        run = runs.get(str(record.tracking["run_id"]))
        if run is None or _hash(run) is not None:
            recorded.append(_of_record(record))
            runs.pop(str(record.tracking["run_id"]), None)
    recorded += [_of_run(run) for run in runs.values() if _hash(run) is not None]
    ended = [run for run in runs.values() if _hash(run) is None and run.info.status != "RUNNING"]
    return PriorRuns(tuple(recorded), unrecorded=len(ended), changed_records=len(names - intact.keys()))


def _runs(store: Store, protocol_id: str) -> "list[Run]":
    """The runs of analyses of a protocol; its id may hold either quote, and MLflow's conditions take one only."""
    quote = '"' if "'" in protocol_id else "'"
    condition = "" if quote in protocol_id else f"tags.`{_PARTITION}` = {quote}{protocol_id}{quote}"
    runs = search(store, store.experiment_id, condition)
    return [run for run in runs if PARENT_TAG in run.data.tags and run.data.tags.get(_PARTITION) == protocol_id]


def _hash(run: "Run") -> str | None:
    tag = run.data.tags.get(HASH_TAG, _UNKNOWN)
    return None if tag == _UNKNOWN else str(tag)


def _of_record(record: Record) -> PriorRun:
    events = f"analytics/{EVENTS.name}"
    instants = [datetime.fromisoformat(source.instant) for source in record.inputs if source.asset == events]
    known_to = round(max(instants).timestamp() * 1_000_000) if instants else None
    return PriorRun(record.identity.analysis, str(record.config.get("outcome")), known_to)


def _of_run(run: "Run") -> PriorRun:
    """Of a run whose record is gone: on what data is not known."""
    kind = run.data.tags.get(_ASSET, _UNKNOWN).rpartition("/")[2]
    return PriorRun(kind, run.data.params.get("outcome", _UNKNOWN), None)
