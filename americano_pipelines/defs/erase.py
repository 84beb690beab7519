"""Erase a learner from every store: find in one order, remove in the reverse."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from americano_pipelines.erasure.erasure_report import ErasureReport
from americano_pipelines.erasure.store import ErasureAction, Item, Store
from americano_pipelines.settings import Settings


def stores(settings: Settings) -> list[Store]:
    """Every store that may have something of a learner, each after the stores that are needed to search it.

    Snapshots say whose a protocol is, extracts which MLflow runs are theirs, and both which Dagster runs.
    """
    from americano_pipelines.defs.dagster_erasure import DagsterRuns
    from americano_pipelines.erasure.api_access import ApiAccess
    from americano_pipelines.erasure.crates import Crates
    from americano_pipelines.erasure.exports import Exports
    from americano_pipelines.erasure.extracts import Extracts
    from americano_pipelines.erasure.lake_files import LakeFiles
    from americano_pipelines.erasure.mlflow_runs import MlflowRuns
    from americano_pipelines.erasure.snapshot_files import SnapshotFiles
    from americano_pipelines.erasure.temporary_files import TemporaryFiles

    kinds = (TemporaryFiles, SnapshotFiles, LakeFiles, Extracts, Crates, Exports, MlflowRuns, DagsterRuns, ApiAccess)
    return [kind(settings) for kind in kinds]


def find_items(settings: Settings, learner_id: str, owners: Mapping[str, set[str]] | None = None) -> ErasureReport:
    """Look into every store; nothing is changed.

    Args:
        settings: where the stores are.
        learner_id: the learner's id, as the source writes it.
        owners: protocol to owners as an earlier look had it: a sync may have removed that snapshot since.

    Raises:
        ResourceError: for want of memory or disk.
    """
    known, items_by_store = _find(settings, learner_id, owners or {}, stores(settings))
    return ErasureReport([item for items in items_by_store for item in items], known)


def erase(settings: Settings, learner_id: str, *, confirmed: bool, owners: Mapping[str, set[str]]) -> ErasureReport:
    """Look again and remove what goes, if the source has nothing of the learner and the id is confirmed.

    A store is cleaned before those that its items are found by, so an erasure that was interrupted can be repeated.

    Args:
        settings: where the stores are.
        learner_id: the learner's id, as the source writes it.
        confirmed: whether the id is known to be a learner's although nothing names it now.
        owners: as for `find_items`.

    Raises:
        LockHeldError: another process writes; ResourceError: as `find_items`.
    """
    from americano_pipelines.common.writer_lock import writer_lock

    with writer_lock(settings):
        all_stores = stores(settings)
        known, items_by_store = _find(settings, learner_id, owners, all_stores)
        report = ErasureReport([item for items in items_by_store for item in items], known)
        report.doubtful = not (confirmed or report.names_learner)
        if report.in_source or report.doubtful:
            return report
        for store, items in reversed(list(zip(all_stores, items_by_store, strict=True))):
            to_remove = [item for item in items if item.action is ErasureAction.REMOVE]
            report.mark_removed(to_remove, store.remove(to_remove))
    return report


def _find(
    settings: Settings, learner_id: str, owners: Mapping[str, set[str]], all_stores: Sequence[Store]
) -> tuple[Mapping[str, set[str]], list[list[Item]]]:
    """Protocol to owners as far as they are known now, and the items of each store."""
    from americano_pipelines.erasure.lake_files import lake_owners
    from americano_pipelines.erasure.learner import identify
    from americano_pipelines.erasure.snapshot_files import protocol_owners

    known: dict[str, set[str]] = {}
    for source in (protocol_owners(settings), lake_owners(settings), owners):
        for protocol_id, ids in source.items():
            known.setdefault(protocol_id, set()).update(ids)
    learner = identify(settings.paths, learner_id, known)
    items_by_store: list[list[Item]] = []
    for store in all_stores:
        items_by_store.append(store.find(learner))
        learner = replace(learner, items=(*learner.items, *items_by_store[-1]))
    return known, items_by_store
