"""Collect the state of the pipeline: what is published, the last runs, failures, requests, analyses and disk space.

Nothing is written, and what cannot be read is reported as such.
"""

import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from americano_pipelines.defs.recent_runs import FAILURE_DAYS, RecentRuns, recent_runs
from americano_pipelines.errors import AmericanoError
from americano_pipelines.provenance.verdict_listing import list_verdicts
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.warehouse.published_protocols import published_protocols
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines.warehouse.snapshots import open_published, read_record

_RUNS, _REQUESTS = 5, 1000


@dataclass(frozen=True)
class PublishedState:
    """The published file.

    Attributes:
        snapshot_id: its id.
        built_at: when it was built, ISO 8601, UTC.
        instant: the instant of the source that it holds, likewise.
        mode: the mode that it was built in.
        rows: rows of each mirror table.
        checks: number of checks.
        failed_checks: checks that did not pass, in words.
        skipped: tables and models that are not there, with the reason.
    """

    snapshot_id: str
    built_at: str
    instant: str
    mode: str
    rows: dict[str, int]
    checks: int
    failed_checks: tuple[str, ...]
    skipped: dict[str, str]


@dataclass(frozen=True)
class PipelineStatus:
    """The state of the pipeline.

    Attributes:
        published: the published file, None when there is none.
        runs: the newest Dagster runs.
        requests: pending requests of the app, at most 1,000; None where no app is configured or it does not answer.
        protocols: names of the published protocols, by id.
        confirmatory: how many protocols have their planned or declared analysis recorded.
        exploratory: how many have exploratory analyses only.
        disk: part of the data folder to bytes.
        free: bytes that are free on its disk.
        problems: what could not be read.
    """

    published: PublishedState | None
    runs: RecentRuns
    requests: int | None
    protocols: dict[str, str]
    confirmatory: int
    exploratory: int
    disk: dict[str, int]
    free: int
    problems: list[str] = field(default_factory=list)


def pipeline_status(settings: Settings) -> PipelineStatus:
    """Collect the state of the pipeline."""
    problems: list[str] = []
    published, protocols, runs, requests = None, [], RecentRuns(), None
    try:
        document = read_record(settings.paths)
        if document is not None:
            published = _published(document)
            with open_published(settings, wait_seconds=0) as connection:
                protocols = published_protocols(connection)
    except AmericanoError as error:
        problems.append(str(error))
    try:
        runs = recent_runs(settings, _RUNS, datetime.now(UTC) - timedelta(days=FAILURE_DAYS))
    except AmericanoError as error:
        problems.append(str(error))
    if settings.app is not None:
        from americano_pipelines.app_database.statements import pending

        try:
            requests = len(pending(settings.app, _REQUESTS))
        except AmericanoError as error:
            problems.append(f"the app's requests: {error}")
    analysed = [
        verdict.confirmatory is not None
        for verdict in list_verdicts(settings.paths, protocols)
        if verdict.entry is not None and verdict.protocol in protocols
    ]
    existing = next(folder for folder in (settings.paths.root, *settings.paths.root.parents) if folder.exists())
    return PipelineStatus(
        published=published,
        runs=runs,
        requests=requests,
        protocols={protocol.protocol_id: protocol.title for protocol in protocols},
        confirmatory=analysed.count(True),
        exploratory=analysed.count(False),
        disk=_disk(settings.paths),
        free=shutil.disk_usage(existing).free,
        problems=problems,
    )


def _published(document: SnapshotRecord) -> PublishedState:
    return PublishedState(
        snapshot_id=document.snapshot_id,
        built_at=document.built_at,
        instant=document.instant,
        mode=document.content.mode,
        rows={name: table.rows for name, table in document.tables.items()},
        checks=len(document.checks),
        failed_checks=tuple(
            f"{check.table}, {check.name}: {check.description}" for check in document.checks if not check.passed
        ),
        skipped=dict(document.skipped),
    )


def _disk(paths: DataFolder) -> dict[str, int]:
    """Bytes of the parts of the data folder, largest first; a part that settings put elsewhere counts too."""
    parts = {
        "snapshots": paths.snapshots,
        "exports": paths.lake,
        "MLflow": paths.mlflow,
        "Dagster": paths.dagster_home,
        "records and extracts": paths.records,
        "demo's Postgres": paths.demo_server,
    }
    sizes = {name: _bytes_below(folder) for name, folder in parts.items()}
    sizes["records and extracts"] += _bytes_below(paths.extracts)
    return dict(sorted(((name, size) for name, size in sizes.items() if size), key=lambda item: -item[1]))


def _bytes_below(folder: Path) -> int:
    total = 0
    for subfolder, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(subfolder, name)).st_size  # noqa: PTH118 - a Path for each file takes longer
            except OSError:
                continue  # removed meanwhile
    return total
