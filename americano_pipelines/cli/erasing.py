"""All that is kept of a learner, wherever it lies: found, and removed in the order that can be done again.

Here belongs the order. What counts as holding a learner, and how it is removed, each place knows itself:
`warehouse/purge.py`, `tracking/erasure.py`, `tracking/copies.py`, `defs/forget.py`.
"""

from collections.abc import Mapping

from americano_pipelines.cli.found import Found
from americano_pipelines.errors import RoomError, TrackingError
from americano_pipelines.settings import Settings


def look(settings: Settings, learner: str, owners: Mapping[str, set[str]] | None = None) -> Found:
    """Look everywhere.

    Args:
        settings: where it lies.
        learner: the learner's id, as the source writes it.
        owners: what an earlier look found of who owns which protocol: a sync may have removed that snapshot since.

    Raises:
        RoomError: for want of memory or disk.
    """
    from americano_pipelines.tracking.copies import find_copies, has_records, models_trained_on
    from americano_pipelines.tracking.erasure import condemned_extracts, unjudged_extracts, whom
    from americano_pipelines.tracking.store import open_store
    from americano_pipelines.warehouse.purge import clean_snapshots, condemned, protocol_owners, still_there

    published, snapshots = still_there(settings, learner), condemned(settings, learner)
    known = protocol_owners(settings)
    for protocol_id, ids in (owners or {}).items():
        known.setdefault(protocol_id, set()).update(ids)
    erased = whom(settings, learner, known)
    clean = clean_snapshots(settings, published, snapshots)
    extracts = condemned_extracts(settings, erased, clean)
    found = Found(published, snapshots, extracts, owners=known, key_problem=erased.key_problem)
    found.unjudged = unjudged_extracts(settings, erased, clean)
    if found.unjudged:
        found.problems.append(
            f"{erased.key_problem}. Whose these extracts are is not known, for no kept snapshot has their protocols: "
            f"{', '.join(sha256[:12] for sha256 in found.unjudged)}. Purge once more with the key that made them"
        )
    if has_records(settings):
        try:
            found.copies, problems = find_copies(settings, open_store(settings), erased, extracts)
            found.problems += problems
        except TrackingError as error:
            found.problems.append(f"what MLflow runs have was not looked at: {error}")
    found.models = models_trained_on(settings, {one.sha256 for one in extracts})
    _look_into_dagster(settings, found)
    return found


def erase(settings: Settings, learner: str, *, sure: bool, owners: Mapping[str, set[str]]) -> Found:
    """Look again and remove what is found, if the published file has nothing of the learner and the id is sure.

    What a learner's extract was copied to goes after the extract: with its card there, it is found once more.

    Args:
        settings: where it lies.
        learner: the learner's id, as the source writes it.
        sure: whether the id is known to be a learner's although nothing names it now.
        owners: as for `look`.

    Raises:
        LockHeldError: another process writes; RoomError: as `look`.
    """
    from americano_pipelines.lock import writer_lock
    from americano_pipelines.temporary import sweep
    from americano_pipelines.tracking.erasure import remove_extract
    from americano_pipelines.warehouse.purge import remove

    with writer_lock(settings):
        found = look(settings, learner, owners)
        found.doubtful = not (sure or found.seen)
        if found.published or found.doubtful:
            return found
        for extract in (*found.extracts, *(one.extract for one in found.copies if one.extract.path is None)):
            remove_extract(settings, extract)
        # After the extracts: they say whose a protocol is.
        for one in found.snapshots:
            remove(settings, one)
        found.problems += [
            f"{path} is in use, and may hold rows of the learner: purge once more when its process has ended"
            for path in sweep(settings.spill_dir)
        ]
    found.removed = [*(one.what for one in found.snapshots), *(one.sha256 for one in found.extracts)]
    _clean_mlflow(found)
    _clean_dagster(settings, found)
    return found


def _clean_mlflow(found: Found) -> None:
    for copy in found.copies:
        if copy.files.store.lost:
            found.problems.append(f"MLflow run {copy.files.run_id} was not cleaned: MLflow does not answer any more")
            continue
        try:
            for path in copy.paths:
                copy.files.remove(path)
            found.removed.append(copy.files.run_id)
        except TrackingError as error:
            found.problems.append(f"MLflow run {copy.files.run_id} was not cleaned: {error}")


def _look_into_dagster(settings: Settings, found: Found) -> None:
    if not settings.dagster_dir.is_dir():
        return
    from americano_pipelines.defs.forget import runs_of
    from americano_pipelines.defs.instance import open_instance

    try:
        with open_instance(settings) as instance:
            found.dagster_runs = runs_of(instance, *_in_dagster(settings, found))
    except RoomError as error:
        found.problems.append(str(error))


def _clean_dagster(settings: Settings, found: Found) -> None:
    if not settings.dagster_dir.is_dir():
        return
    from americano_pipelines.defs.forget import at_work, forget
    from americano_pipelines.defs.instance import open_instance

    try:
        with open_instance(settings) as instance:
            # Also when no run is left: what an earlier purge was stopped at is then finished.
            if any(_in_dagster(settings, found)):
                forget(instance, found.dagster_runs)
            found.removed += found.dagster_runs
            found.problems += [
                f"Dagster run {run_id} is at work, perhaps on an earlier snapshot: purge once more when it has ended"
                for run_id in at_work(instance)
            ]
    except RoomError as error:
        found.problems.append(str(error))


def _in_dagster(settings: Settings, found: Found) -> tuple[set[str], set[str]]:
    """Protocols that are the learner's, and Dagster runs that recorded an extract which goes or went."""
    from americano_pipelines.tracking.erasure import purged_extracts
    from americano_pipelines.tracking.history import records

    gone = dict(purged_extracts(settings))
    gone |= {one.sha256: one.protocol_id for one in (*found.extracts, *(copy.extract for copy in found.copies))}
    runs = {
        str(record.orchestrator["dagster_run_id"])
        for _, record in records(settings)
        if record.extract_sha256 in gone and record.identity.protocol_id is not None
    }
    return {protocol_id for protocol_id in gone.values() if protocol_id is not None}, runs
