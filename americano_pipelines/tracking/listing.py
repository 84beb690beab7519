"""All analyses there are: the ones that MLflow has, whatever became of them, and the records whose run is gone there.

Here belongs joining MLflow's runs with the archive. Whether a record is still as it was is not asked: that is `verify`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from americano_pipelines import sql
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.history import records
from americano_pipelines.tracking.lifecycle import SERVICE, search
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.recording import HASH_TAG
from americano_pipelines.tracking.runs import PARENT_TAG
from americano_pipelines.tracking.store import Store
from americano_pipelines.warehouse.read import open_published

if TYPE_CHECKING:
    from mlflow.entities import Run

GONE = "gone"
_UNKNOWN = "unknown"
_PREFIX = "analysis/"


@dataclass(frozen=True)
class Listed:
    """One analysis.

    Attributes:
        started: when, ISO 8601, UTC.
        analysis: which, None when its run does not say.
        protocol_id: of which protocol, None for one of none.
        protocol: the protocol's name in the published file, its id when it is not there.
        status: of the MLflow run; `gone` when MLflow does not have it any more.
        verdict: the verdict's state, None without a record or for an analysis that judges nothing.
        standing: `planned` or `exploratory`, None without a record or for an analysis that no protocol plans.
        sentence: what came out, None without a record.
        mlflow_run_id: the MLflow run.
        mlflow_url: its page, None when there is none.
        analysis_run_id: the app's row, None when there is none.
        dagster_run_id: the Dagster run.
        record: the record's hash, None when there is none that it names: it failed, it still runs, or something was
            changed.
    """

    started: str
    analysis: str | None
    protocol_id: str | None
    protocol: str | None
    status: str
    verdict: str | None
    standing: str | None
    sentence: str | None
    mlflow_run_id: str
    mlflow_url: str | None
    analysis_run_id: str | None
    dagster_run_id: str | None
    record: str | None


def listing(settings: Settings, store: Store) -> list[Listed]:
    """All analyses, newest first.

    Raises:
        TrackingError: MLflow does not answer.
    """
    known = {str(one.tracking["run_id"]): (sha256, one) for sha256, one in records(settings)}
    names = _protocol_names(settings)
    found = list(_of_mlflow(store, known, names))
    listed = {one.mlflow_run_id for one in found}
    found += [_of_record(*each, GONE, names) for run_id, each in known.items() if run_id not in listed]
    return sorted(found, key=lambda one: one.started, reverse=True)


def _of_mlflow(store: Store, known: dict[str, tuple[str, Record]], names: dict[str, str]) -> Iterator[Listed]:
    for run in search(store, store.experiment_id, f"tags.service = '{SERVICE}'"):
        if PARENT_TAG not in run.data.tags:
            continue  # that of a whole Dagster run
        sha256, record = known.get(run.info.run_id, (None, None))
        # The tag is set last: without it the recording did not come to its end.
        if sha256 is not None and record is not None and run.data.tags.get(HASH_TAG) == sha256:
            yield _of_record(sha256, record, str(run.info.status), names)
        else:
            yield _without_record(store, run, names)


def _of_record(sha256: str, record: Record, status: str, names: dict[str, str]) -> Listed:
    identity = record.identity
    return Listed(
        started=datetime.fromisoformat(identity.started_at).isoformat(timespec="milliseconds"),
        analysis=identity.analysis,
        protocol_id=identity.protocol_id,
        protocol=names.get(identity.protocol_id or "", identity.protocol_id),
        status=status,
        verdict=record.verdict,
        standing=None if record.standing is None else "planned" if record.standing.planned else "exploratory",
        sentence=record.sentence,
        mlflow_run_id=str(record.tracking["run_id"]),
        mlflow_url=record.tracking["url"],
        analysis_run_id=identity.analysis_run_id,
        dagster_run_id=record.orchestrator["dagster_run_id"],
        record=sha256,
    )


def _without_record(store: Store, run: "Run", names: dict[str, str]) -> Listed:
    tags = {name: value for name, value in run.data.tags.items() if value != _UNKNOWN}
    asset, protocol_id = tags.get("dagster.asset_key"), tags.get("dagster.partition")
    return Listed(
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="milliseconds"),
        analysis=asset.removeprefix(_PREFIX) if asset else run.info.run_name,
        protocol_id=protocol_id,
        protocol=names.get(protocol_id or "", protocol_id),
        status=str(run.info.status),
        verdict=None,
        standing=None,
        sentence=None,
        mlflow_run_id=str(run.info.run_id),
        mlflow_url=store.url(run.info.run_id),
        analysis_run_id=tags.get("analysis_run_id"),
        dagster_run_id=tags.get("dagster_run_id"),
        record=None,
    )


def _protocol_names(settings: Settings) -> dict[str, str]:
    """Names of the published protocols by id; none without a published file, or one with protocols in it."""
    try:
        with open_published(settings) as connection:
            return dict(connection.execute(sql.load("tracking", "protocol_names")).fetchall())
    except (WarehouseUnavailableError, duckdb.CatalogException):
        return {}
