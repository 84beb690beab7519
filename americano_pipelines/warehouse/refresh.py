"""Refresh the published file: compare, build aside, check, publish, or leave all as it is."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from americano_pipelines.common import atomic_files, sql
from americano_pipelines.common.duckdb_session import connect, resource_errors
from americano_pipelines.common.leftovers import sweep_leftovers
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import DataError, SourceError, UnreadableRecordError
from americano_pipelines.settings import DataFolder, LearnerIndex, Mode, Settings
from americano_pipelines.sources.contracts import contract_sha256
from americano_pipelines.warehouse import build, checks, research_models, snapshots
from americano_pipelines.warehouse.build_plan import SMALL_BYTES, BuildPlan, decide_build
from americano_pipelines.warehouse.id_consistency import check_identities
from americano_pipelines.warehouse.input_selection import Source, attach_published, carried_over, open_source
from americano_pipelines.warehouse.inputs import TableInput
from americano_pipelines.warehouse.plan_history import PlanHistory, earlier_history, write_history
from americano_pipelines.warehouse.snapshot_record import BuildFingerprint, CheckOutcome, SnapshotRecord, write_record


@dataclass(frozen=True)
class RefreshResult:
    """What a refresh did.

    Attributes:
        document: the record of what is published now, or of what was not published because a check failed.
        path: the published file; None when a blocking check failed.
        changed: whether a new file was built.
        missing: source tables that were not there this time, with the reason.
        before: data versions of what was published before, by `schema.name`.
    """

    document: SnapshotRecord
    path: Path | None
    changed: bool
    missing: Mapping[str, str]
    before: Mapping[str, str]

    @property
    def blocked_by(self) -> list[CheckOutcome]:
        """The failed checks that stopped the publication."""
        return [check for check in self.document.checks if check.blocking and not check.passed]


def refresh(
    settings: Settings, stages: StageTimer, *, full: bool = False, may_remove: snapshots.MayRemove | None = None
) -> RefreshResult:
    """Bring the published file to the source's state. The caller holds the writer lock.

    Args:
        settings: the source and the folders.
        stages: counts and announces what is being done.
        full: build anew even if nothing changed.
        may_remove: asked before each earlier file is removed, once the new one is published.

    Raises:
        SourceError: the source cannot be read in full; nothing was published.
        LakeDamagedError: a file of the lake is not as it was exported; nothing was published.
        PublishError: the published name is taken by something else.
    """
    with resource_errors(settings):
        sweep_leftovers(settings.paths)
        with ExitStack() as building:
            return _refresh(settings, stages, building, may_remove, full=full)


def _refresh(
    settings: Settings,
    stages: StageTimer,
    building: ExitStack,
    may_remove: snapshots.MayRemove | None,
    *,
    full: bool,
) -> RefreshResult:
    snapshot_id = atomic_files.new_id()
    published, damage = snapshots.current(settings.paths), None
    try:
        before = snapshots.read_record(settings.paths)
    except UnreadableRecordError as error:
        before, damage = None, error
    states = before.states if before is not None else {}
    with connect(settings) as connection:
        with open_source(settings, connection, stages) as source:
            carried = carried_over(settings, before, source)
            inputs = {**source.inputs, **carried}
            if damage is not None and settings.mode is Mode.PARQUET:
                _check_nothing_is_lost(settings, damage, source)
            if not source.inputs:
                reasons = "\n".join(f"  {name}: {reason}" for name, reason in source.skipped.items())
                raise SourceError(f"there is nothing to build from:\n{reasons}")
            content = _content(settings, inputs)
            with stages.stage("compare with what is published"):
                build_plan = decide_build(settings.paths, before, content, source, inputs, full=full)
                if damage is not None and not full:
                    build_plan = replace(build_plan, reason=str(damage))
            if build_plan.action == "keep" and before is not None:
                return RefreshResult(before, published, changed=False, missing=source.skipped, before=states)
            history = earlier_history(settings)
            path = building.enter_context(snapshots.building(settings.paths, snapshot_id))
            if before is not None and published is not None and carried:
                attach_published(path.parent.parent, connection, published, before, carried, source)
            with stages.stage("copy the published file" if build_plan.basis else "prepare"):
                _open(settings.paths, connection, path, build_plan)
            document = _build(connection, path, source, inputs, content, build_plan, stages)
            document = _with_record(connection, document, history)
            with stages.stage("compare ids"):
                tables = {name: table_input.table for name, table_input in inputs.items()}
                check_identities(connection, tables, settings.americano_columns)
        catalog = sql.quote(path.stem)
        with stages.stage("checkpoint"):
            connection.execute(f"CHECKPOINT {catalog}")
            connection.execute(f"USE memory; DETACH {catalog}")
    outcome = RefreshResult(document, None, changed=True, missing=source.skipped, before=states)
    if outcome.blocked_by:
        return outcome
    with stages.stage("publish"):
        published_path, document = snapshots.publish(settings, path, document, may_remove)
    return replace(outcome, document=document, path=published_path)


def _check_nothing_is_lost(settings: Settings, damage: UnreadableRecordError, source: Source) -> None:
    """Refuse a new build where a published table has no files: the record to carry it over by is unreadable.

    Raises:
        DataError: there is such a table.
    """
    with snapshots.open_published(settings) as connection:
        names = {str(row[0]) for row in connection.execute(sql.load("warehouse", "published_tables")).fetchall()}
    if lost := sorted(names & source.skipped.keys()):
        raise DataError(
            f"{damage}. {', '.join(lost)} cannot be carried over from it: put the files back and sync again, or remove "
            f"{settings.paths.published} to publish without them"
        )


def _open(paths: DataFolder, connection: duckdb.DuckDBPyConnection, path: Path, build_plan: BuildPlan) -> None:
    """Attach the file to build in: a copy of the published one when that is to be patched, else a new one."""
    published = snapshots.current(paths)
    if build_plan.basis is not None and published is not None:
        shutil.copyfile(published, path)
    catalog = sql.quote(path.stem)
    # The file is published whole or discarded, so it needs no recovery. With a write-ahead log, 300 rows of a megabyte
    # each took 1,188 MB at the commit, without it 537 MB.
    connection.execute(f"ATTACH '{sql.escape(str(path))}' AS {catalog} (RECOVERY_MODE no_wal_writes)")
    connection.execute(f"USE {catalog}")
    # Merging row groups at the checkpoint cost 1 s of CPU time for 1 M rows, in a new file and at its first patch, and
    # left a third of free blocks in a new file (97 MB instead of 68). A small file would double within some patches.
    if build_plan.basis is None or build_plan.basis.bytes > SMALL_BYTES:
        connection.execute("SET max_vacuum_tasks = 0")
    if build_plan.basis is None:
        connection.execute("CREATE SCHEMA analytics; CREATE SCHEMA meta")


def _build(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    source: Source,
    inputs: Mapping[str, TableInput],
    content: BuildFingerprint,
    build_plan: BuildPlan,
    stages: StageTimer,
) -> SnapshotRecord:
    basis, learner_index = build_plan.basis, LearnerIndex(content.learner_index)
    outcomes, tables = [], {}
    for name, table_input in inputs.items():
        if basis is None:
            tables[name], reconciled = build.build_table(connection, table_input, learner_index, stages)
        elif build.changed_buckets(table_input, basis.tables[name]):
            tables[name], reconciled = build.patch_table(connection, table_input, basis.tables[name], stages)
        else:
            tables[name] = basis.tables[name]
            reconciled = next(c for c in basis.checks if (c.table, c.name) == (name, "reconciled"))
        if name in source.inputs:
            tables[name] = tables[name].model_copy(update={"instant": source.instant})
        outcomes.append(reconciled)
    built_models, left_out = build.build_models(connection, inputs, stages, basis)
    with stages.stage("check"):
        source_tables = {name: table_input.table for name, table_input in inputs.items()}
        selected = [check for check in checks.ALL_CHECKS if check.table in inputs and check.name != "reconciled"]
        changed = _changed_since_passed(inputs, basis)
        outcomes += [checks.evaluate(connection, check, source_tables, changed.get(check)) for check in selected]
    return SnapshotRecord(
        snapshot_id=path.parent.name,
        built_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        instant=source.instant,
        built=f"{build_plan.action}: {build_plan.reason}",
        fresh_bytes=basis.fresh_bytes if basis is not None else 0,
        source=dict(source.identity),
        content=content,
        tables=tables,
        models=built_models,
        skipped={
            **{f"analytics.{name}": reason for name, reason in source.skipped.items() if name not in tables},
            **{f"research.{name}": reason for name, reason in left_out.items()},
        },
        checks=outcomes,
    )


def _changed_since_passed(
    inputs: Mapping[str, TableInput], basis: SnapshotRecord | None
) -> dict[checks.Check, set[str]]:
    """The checks that passed in the file that is patched, with the buckets of their table that were replaced in it."""
    if basis is None:
        return {}
    return {
        checks.check_named(before.table, before.name): build.changed_buckets(
            inputs[before.table], basis.tables[before.table]
        )
        for before in basis.checks
        if before.passed and before.table in inputs
    }


def _with_record(
    connection: duckdb.DuckDBPyConnection, document: SnapshotRecord, history: PlanHistory
) -> SnapshotRecord:
    """Write the history of plans and the record into the file; the record with what that history says."""
    document = document.model_copy(update={"plans_since": write_history(connection, history, document)})
    write_record(connection, document)
    return document


def _content(settings: Settings, inputs: Mapping[str, TableInput]) -> BuildFingerprint:
    return BuildFingerprint(
        mode=settings.mode.value,
        tables={name: inputs[name].state_sha256 for name in sorted(inputs)},
        contract_sha256=contract_sha256(),
        models_sha256=research_models.models_sha256(),
        duckdb_version=duckdb.__version__,
        learner_index=settings.americano_learner_index.value,
    )
