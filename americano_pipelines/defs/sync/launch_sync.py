"""Run the nightly job from a shell, on the same instance as the UI, and summarize its events."""

import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import dagster as dg

from americano_pipelines.common.stage_timer import peak_memory_mb
from americano_pipelines.defs.run_ends import step_failure
from americano_pipelines.defs.run_maintenance import instance_for_runs
from americano_pipelines.defs.run_processes import process_tags
from americano_pipelines.defs.run_tags import NEW_SNAPSHOT, REPAIRED, SECONDS, SKIPPED, UNCHANGED
from americano_pipelines.defs.sync.sync_job import nightly_job
from americano_pipelines.errors import UnreadableRecordError
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.warehouse.snapshots import current, read_record

_STEPS = {Mode.PARQUET: ("warehouse",), Mode.POSTGRES: ("parquet_exports", "warehouse"), Mode.SCANNER: ("warehouse",)}


@dataclass
class Summary:
    """What a sync did.

    Attributes:
        mode: the way in.
        success: whether the run succeeded.
        run_id: the Dagster run.
        snapshot_id: the published snapshot, None when there is none.
        path: its file.
        instant: the instant of the source it holds, ISO 8601.
        changed: whether a new file was published.
        tables: table name to rows, source rows, whether it changed and whether it was carried over.
        models: rollup name to rows.
        skipped: source tables that are missing, with the reason.
        left_out: research views and rollups that cannot be made without them, with the reason.
        built: how and why the published file was built as it is.
        repaired: files of the lake that were damaged or gone, and were exported again.
        warnings: checks that do not hold but do not stop a publication.
        seconds: seconds per stage.
        peak_memory_mb: most memory this process held.
        error: why it failed.
        error_kind: the class of that error, such as `SourceError`; None when it is not one of ours.
    """

    mode: str
    success: bool
    run_id: str
    snapshot_id: str | None = None
    path: str | None = None
    instant: str | None = None
    changed: bool = False
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    built: str | None = None
    repaired: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: int = 0
    error: str | None = None
    error_kind: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_nightly(settings: Settings, *, full: bool) -> Summary:
    """Run the nightly job in this process and wait for it.

    Args:
        settings: the source and the data folder.
        full: export and build everything, also what did not change.

    Raises:
        ConfigError: a setting is wrong.
    """
    job = nightly_job(settings)
    run_id = str(uuid.uuid4())
    with instance_for_runs(settings) as instance:
        result = job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_id=run_id,
            tags=process_tags(instance, run_id),
            run_config={
                "ops": {step: {"config": {"full": full}} for step in _STEPS[settings.mode]},
                "loggers": {"console": {"config": {"log_level": console_level(settings)}}},
            },
        )
    return _summarize(settings, result)


def console_level(settings: Settings) -> str:
    """The level of Dagster's own log in a shell: LOG_LEVEL if it is set, else none, because the summary has it."""
    return settings.log_level if "log_level" in settings.model_fields_set else "CRITICAL"


def _summarize(settings: Settings, result: dg.ExecuteInProcessResult) -> Summary:
    summary = Summary(settings.mode.value, result.success, result.run_id)
    summary.peak_memory_mb = peak_memory_mb()
    changed: set[str] = set()
    for event in result.all_events:
        if event.is_asset_observation:
            observation = event.asset_observation_data.asset_observation
            prefix, *name = observation.asset_key.path
            into = {"analytics": summary.skipped, "research": summary.left_out}.get(prefix)
            if into is not None and SKIPPED in observation.metadata:
                into[name[0]] = str(observation.metadata[SKIPPED].value)
        elif event.is_step_materialization and event.asset_key is not None:
            metadata = event.step_materialization_data.materialization.metadata
            if SECONDS not in metadata:
                continue
            repaired = cast("list[str]", metadata[REPAIRED].value) if REPAIRED in metadata else []
            summary.repaired += [path for path in repaired if path not in summary.repaired]
            summary.seconds |= cast("dict[str, float]", metadata[SECONDS].value)
            if NEW_SNAPSHOT in metadata:
                summary.changed = bool(metadata[NEW_SNAPSHOT].value)
            if event.asset_key.path[0] == "analytics" and not metadata[UNCHANGED].value:
                changed.add(event.asset_key.path[1])
        elif event.is_step_failure:
            summary.error, summary.error_kind = step_failure(event)
    document, path = None, current(settings.paths)
    # A sync may have failed because the record cannot be read.
    with suppress(UnreadableRecordError):
        document = read_record(settings.paths)
    if document is not None and path is not None:
        summary.snapshot_id, summary.path, summary.instant = document.snapshot_id, str(path), document.instant
        summary.built = document.built
        summary.tables = {
            name: {
                "rows": table.rows,
                "source_rows": table.source_rows,
                "carried_over": table.carried_over,
                "changed": name in changed,
            }
            for name, table in document.tables.items()
        }
        summary.models = {name: model.rows for name, model in document.models.items() if model.rows is not None}
        summary.warnings = [f"{c.table}, {c.name}: {c.description}" for c in document.checks if not c.passed]
    return summary
