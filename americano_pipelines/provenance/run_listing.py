"""List all analyses: MLflow's runs in any state, and records whose run is gone from MLflow."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from americano_pipelines.analysis.group_extract import group_title
from americano_pipelines.analysis.registry import GROUP_KINDS
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.mlflow_store.artifacts import find_run
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import ASSET_TAG, PROTOCOL_TAG, UNKNOWN, newest_analysis_runs, record_hash
from americano_pipelines.provenance.record_index import IndexEntry, find_entries, newest_entries
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.published_protocols import read_protocols

if TYPE_CHECKING:
    from americano_pipelines.mlflow_store.runs import Run


GONE = "gone"
_PREFIX = "analysis/"


@dataclass(frozen=True)
class ListedRun:
    """One analysis.

    Attributes:
        started: when, ISO 8601, UTC.
        analysis: which, None when its run does not say.
        protocol_id: of which protocol, None for one of none.
        protocol: the protocol's name in the published file, its id when it is not there; or the group in words.
        status: of the MLflow run; `gone` when MLflow does not have it any more.
        verdict: the verdict's state, None without a record or for an analysis that judges nothing.
        standing: `planned`, `declared` or `exploratory`, None without a record or for an analysis that no protocol
            plans.
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


def list_runs(settings: Settings, store: Store, limit: int | None = None) -> list[ListedRun]:
    """List analyses, newest first.

    Args:
        settings: whose archive and published file.
        store: MLflow.
        limit: how many, None for all.

    Raises:
        TrackingError: MLflow does not answer.
    """
    names = protocol_names(settings)
    runs = newest_analysis_runs(store, limit)
    # The tag is set last: without it recording did not finish.
    hashes = filter(None, map(record_hash, runs))
    entries = {entry.sha256: entry for entry in find_entries(settings.paths, "sha256", *hashes)}
    listed = []
    for run in runs:
        entry = entries.get(record_hash(run) or "")
        if entry is not None and entry.mlflow_run_id == run.info.run_id:
            listed.append(_of_entry(entry, str(run.info.status), names))
        else:
            listed.append(_without_record(store, run, names))
    run_ids = {run.info.run_id for run in runs}
    oldest = listed[-1].started if listed and len(listed) == limit else ""
    for entry in newest_entries(settings.paths, limit):
        # A run just older than the list may have a record that is not.
        if entry.mlflow_run_id in run_ids or _started(entry) < oldest:
            continue
        if not oldest or find_run(store, str(entry.mlflow_run_id)) is None:
            listed.append(_of_entry(entry, GONE, names))
    return sorted(listed, key=lambda run: run.started, reverse=True)[:limit]


def _started(entry: IndexEntry) -> str:
    return datetime.fromisoformat(str(entry.started_at)).isoformat(timespec="milliseconds")


def _of_entry(entry: IndexEntry, status: str, names: dict[str, str]) -> ListedRun:
    return ListedRun(
        started=_started(entry),
        analysis=entry.analysis,
        protocol_id=entry.protocol_id,
        protocol=group_title(entry.group_key)
        if entry.group_key is not None
        else names.get(entry.protocol_id or "", entry.protocol_id),
        status=status,
        verdict=entry.verdict,
        standing=entry.standing,
        sentence=entry.sentence,
        mlflow_run_id=str(entry.mlflow_run_id),
        mlflow_url=entry.mlflow_url,
        analysis_run_id=entry.analysis_run_id,
        dagster_run_id=entry.dagster_run_id,
        record=entry.sha256,
    )


def _without_record(store: Store, run: "Run", names: dict[str, str]) -> ListedRun:
    tags = {name: value for name, value in run.data.tags.items() if value != UNKNOWN}
    asset, partition = tags.get(ASSET_TAG), tags.get(PROTOCOL_TAG)
    analysis = asset.removeprefix(_PREFIX) if asset else run.info.run_name
    group = partition if analysis in GROUP_KINDS else None
    protocol_id = None if group is not None else partition
    return ListedRun(
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="milliseconds"),
        analysis=analysis,
        protocol_id=protocol_id,
        protocol=names.get(protocol_id or "", protocol_id) if group is None else group_title(group),
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


def protocol_names(settings: Settings) -> dict[str, str]:
    """Names of the published protocols by id; none without a published file that can be opened."""
    try:
        return {
            protocol.protocol_id: protocol.name for protocol in read_protocols(settings) if protocol.name is not None
        }
    except WarehouseUnavailableError:
        return {}
