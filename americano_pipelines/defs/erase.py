"""Erase a learner from every store, in an order that can be repeated after an interruption."""

from collections.abc import Mapping

from americano_pipelines.erasure.erasure_report import ErasureReport
from americano_pipelines.errors import ResourceError, TrackingError
from americano_pipelines.settings import Settings


def find_items(settings: Settings, learner: str, owners: Mapping[str, set[str]] | None = None) -> ErasureReport:
    """Look everywhere.

    Args:
        settings: where it lies.
        learner: the learner's id, as the source writes it.
        owners: what an earlier look found of who owns which protocol: a sync may have removed that snapshot since.

    Raises:
        ResourceError: for want of memory or disk.
    """
    from americano_pipelines.erasure.data_files import clean_snapshots, find_published, find_snapshots, protocol_owners
    from americano_pipelines.erasure.extracts import find_extracts, unjudged_extracts, whom
    from americano_pipelines.erasure.mlflow_runs import find_copies, has_records, models_trained_on
    from americano_pipelines.mlflow_store.client import open_store_to_read

    published, snapshots = find_published(settings, learner), find_snapshots(settings, learner)
    known = protocol_owners(settings)
    for protocol_id, ids in (owners or {}).items():
        known.setdefault(protocol_id, set()).update(ids)
    erased = whom(settings, learner, known)
    clean = clean_snapshots(settings, published, snapshots)
    extracts = find_extracts(settings, erased, clean)
    report = ErasureReport(published, snapshots, extracts, owners=known, key_problem=erased.key_problem)
    report.unjudged = unjudged_extracts(settings, erased, clean)
    if report.unjudged:
        report.problems.append(
            f"{erased.key_problem}. Whose these extracts are is not known, for no kept snapshot has their protocols: "
            f"{', '.join(sha256[:12] for sha256 in report.unjudged)}. Purge once more with the key that made them"
        )
    if has_records(settings):
        try:
            report.copies, problems = find_copies(settings, open_store_to_read(settings), erased, extracts)
            report.problems += problems
        except TrackingError as error:
            report.problems.append(f"what MLflow runs have was not looked at: {error}")
    report.models = models_trained_on(settings, {extract.sha256 for extract in extracts})
    _find_dagster_runs(settings, report)
    return report


def erase(settings: Settings, learner: str, *, sure: bool, owners: Mapping[str, set[str]]) -> ErasureReport:
    """Look again and remove what is found, if the published file has nothing of the learner and the id is sure.

    What a learner's extract was copied to goes after the extract: with its card there, it is found once more.

    Args:
        settings: where it lies.
        learner: the learner's id, as the source writes it.
        sure: whether the id is known to be a learner's although nothing names it now.
        owners: as for `find_items`.

    Raises:
        LockHeldError: another process writes; ResourceError: as `find_items`.
    """
    from americano_pipelines.common.temporary_folders import sweep
    from americano_pipelines.common.writer_lock import writer_lock
    from americano_pipelines.erasure.data_files import remove_snapshot_files
    from americano_pipelines.erasure.extracts import remove_extract

    with writer_lock(settings):
        report = find_items(settings, learner, owners)
        report.doubtful = not (sure or report.seen)
        if report.published or report.doubtful:
            return report
        for extract in (*report.extracts, *(item.extract for item in report.copies if item.extract.path is None)):
            remove_extract(settings, extract)
        # After the extracts: they say whose a protocol is.
        for item in report.snapshots:
            remove_snapshot_files(settings, item)
        report.problems += [
            f"{path} is in use, and may hold rows of the learner: purge once more when its process has ended"
            for path in sweep(settings.spill_dir)
        ]
    report.removed = [*(item.what for item in report.snapshots), *(item.sha256 for item in report.extracts)]
    _clean_mlflow(report)
    _clean_dagster(settings, report)
    return report


def _clean_mlflow(report: ErasureReport) -> None:
    for copy in report.copies:
        try:
            for path in copy.paths:
                copy.files.remove(path)
            report.removed.append(copy.files.run_id)
        except TrackingError as error:
            report.problems.append(f"MLflow run {copy.files.run_id} was not cleaned: {error}")


def _find_dagster_runs(settings: Settings, report: ErasureReport) -> None:
    from americano_pipelines.defs.dagster_erasure import runs_of
    from americano_pipelines.defs.dagster_instance import open_instance_to_read

    try:
        with open_instance_to_read(settings) as instance:
            report.dagster_runs = [] if instance is None else runs_of(instance, *_protocols_and_runs(settings, report))
    except ResourceError as error:
        report.problems.append(str(error))


def _clean_dagster(settings: Settings, report: ErasureReport) -> None:
    if not settings.dagster_dir.is_dir():
        return
    from americano_pipelines.defs.dagster_erasure import delete_runs, runs_under_way
    from americano_pipelines.defs.dagster_instance import open_instance

    try:
        with open_instance(settings) as instance:
            # Also when no run is left: what an earlier purge was stopped at is then finished.
            if any(_protocols_and_runs(settings, report)):
                delete_runs(instance, report.dagster_runs)
            report.removed += report.dagster_runs
            report.problems += [
                f"Dagster run {run_id} is at work, perhaps on an earlier snapshot: purge once more when it has ended"
                for run_id in runs_under_way(instance)
            ]
    except ResourceError as error:
        report.problems.append(str(error))


def _protocols_and_runs(settings: Settings, report: ErasureReport) -> tuple[set[str], set[str]]:
    """Protocols that are the learner's, and Dagster runs that recorded an extract which goes or went."""
    from americano_pipelines.erasure.extracts import purged_extracts
    from americano_pipelines.provenance.archive import records

    gone = dict(purged_extracts(settings))
    gone |= {
        extract.sha256: extract.protocol_id for extract in (*report.extracts, *(copy.extract for copy in report.copies))
    }
    runs = {
        str(record.orchestrator["dagster_run_id"])
        for _, record in records(settings)
        if record.extract_sha256 in gone and record.identity.protocol_id is not None
    }
    return {protocol_id for protocol_id in gone.values() if protocol_id is not None}, runs
