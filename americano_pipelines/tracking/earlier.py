"""What was looked at before: the analyses of a protocol, by the archive and by MLflow together.

Here belongs finding them. Neither alone will do: a record can be removed from the archive, and MLflow's runs can be
deleted there. What an analysis means for the next one is `analysis/standing.py`.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from americano_pipelines.analysis.standing import Before, Earlier
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.tracking.history import record_files, records
from americano_pipelines.tracking.lifecycle import search
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.recording import HASH_TAG
from americano_pipelines.tracking.runs import PARENT_TAG
from americano_pipelines.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

_PARTITION, _ASSET, _UNKNOWN = "dagster.partition", "dagster.asset_key", "unknown"


def before(settings: Settings, store: Store, protocol_id: str, run_id: str) -> Before:
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
    return Before(tuple(recorded), unrecorded=len(ended), changed_records=len(names - intact.keys()))


def _runs(store: Store, protocol_id: str) -> "list[Run]":
    """The runs of analyses of a protocol; its id may hold either quote, and MLflow's conditions take one only."""
    quote = '"' if "'" in protocol_id else "'"
    condition = "" if quote in protocol_id else f"tags.`{_PARTITION}` = {quote}{protocol_id}{quote}"
    found = search(store, store.experiment_id, condition)
    return [run for run in found if PARENT_TAG in run.data.tags and run.data.tags.get(_PARTITION) == protocol_id]


def _hash(run: "Run") -> str | None:
    found = run.data.tags.get(HASH_TAG, _UNKNOWN)
    return None if found == _UNKNOWN else str(found)


def _of_record(record: Record) -> Earlier:
    events = f"analytics/{EVENTS.name}"
    instants = [datetime.fromisoformat(one.instant) for one in record.inputs if one.asset == events]
    known_to = round(max(instants).timestamp() * 1_000_000) if instants else None
    return Earlier(record.identity.analysis, str(record.config.get("outcome")), known_to)


def _of_run(run: "Run") -> Earlier:
    """Of a run whose record is gone: on what data is not known."""
    kind = run.data.tags.get(_ASSET, _UNKNOWN).rpartition("/")[2]
    return Earlier(kind, run.data.params.get("outcome", _UNKNOWN), None)
