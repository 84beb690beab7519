"""List all analyses: MLflow's runs in any state, and records whose run is gone from MLflow."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import HASH_TAG, PARENT_TAG, SERVICE, search
from americano_pipelines.provenance.archive import records
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.snapshots import open_published

if TYPE_CHECKING:
    from americano_pipelines.mlflow_store.runs import Run


GONE = "gone"
_UNKNOWN = "unknown"
_PREFIX = "analysis/"


@dataclass(frozen=True)
class ListedRun:
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


def list_runs(settings: Settings, store: Store) -> list[ListedRun]:
    """All analyses, newest first.

    Raises:
        TrackingError: MLflow does not answer.
    """
    known = {str(item.tracking["run_id"]): (sha256, item) for sha256, item in records(settings)}
    names = _protocol_names(settings)
    runs = list(_of_mlflow(store, known, names))
    listed = {item.mlflow_run_id for item in runs}
    runs += [_of_record(*each, GONE, names) for run_id, each in known.items() if run_id not in listed]
    return sorted(runs, key=lambda item: item.started, reverse=True)


def _of_mlflow(store: Store, known: dict[str, tuple[str, Record]], names: dict[str, str]) -> Iterator[ListedRun]:
    for run in search(store, store.experiment_id, f"tags.service = '{SERVICE}'"):
        if PARENT_TAG not in run.data.tags:
            continue  # that of a whole Dagster run
        sha256, record = known.get(run.info.run_id, (None, None))
        # The tag is set last: without it the recording did not come to its end.
        if sha256 is not None and record is not None and run.data.tags.get(HASH_TAG) == sha256:
            yield _of_record(sha256, record, str(run.info.status), names)
        else:
            yield _without_record(store, run, names)


def _of_record(sha256: str, record: Record, status: str, names: dict[str, str]) -> ListedRun:
    identity = record.identity
    return ListedRun(
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


def _without_record(store: Store, run: "Run", names: dict[str, str]) -> ListedRun:
    tags = {name: value for name, value in run.data.tags.items() if value != _UNKNOWN}
    asset, protocol_id = tags.get("dagster.asset_key"), tags.get("dagster.partition")
    return ListedRun(
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
            return dict(connection.execute(sql.load("provenance", "protocol_names")).fetchall())
    except (WarehouseUnavailableError, duckdb.CatalogException):
        return {}
