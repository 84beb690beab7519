"""Find and remove the files of MLflow runs that show the days of an erased extract.

The record, the lock file, the diff and the numbers of a run stay; models stay too and are named.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from americano_pipelines.analysis.daily_series import DAILY
from americano_pipelines.analysis.day_values import DAYS
from americano_pipelines.erasure.extracts import KIND as EXTRACT_KIND
from americano_pipelines.erasure.extracts import summarize_extract, write_card
from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.artifacts import MlflowRun, find_run, runs_with_data
from americano_pipelines.mlflow_store.client import Store, open_store, open_store_to_read
from americano_pipelines.mlflow_store.registered_models import MODEL
from americano_pipelines.provenance.archive import records
from americano_pipelines.provenance.perform import MANUSCRIPT, REPORT, RESULTS
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.recorder import EXTRACT
from americano_pipelines.settings import DataFolder, Settings

KIND = "MLflow run"
_PROVENANCE = "provenance/"
_RUNNING_STATUSES = frozenset({"RUNNING", "SCHEDULED"})


class MlflowRuns:
    """The files of MLflow runs, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, learner: Learner) -> list[Item]:
        """The runs whose files show the learner's days or may; what cannot be looked at; models that stay.

        Looked at are the runs of extracts that go, and those whose extract is not in the archive: it was purged while
        MLflow did not answer, or the run failed before it was recorded. These are judged by the extract that they hold.
        """
        to_remove = {
            item.name: item
            for item in learner.items
            if item.kind == EXTRACT_KIND and item.action is ErasureAction.REMOVE
        }
        items = _models(self._settings.paths, to_remove)
        if not _has_runs(self._settings.tracking_uri):
            return items
        try:
            return items + self._runs(open_store_to_read(self._settings), learner, to_remove)
        except TrackingError as error:
            reason = f"what MLflow runs have was not looked at: {error}"
            return [*items, Item("MLflow", "MLflow", reason, ErasureAction.CANNOT_REMOVE)]

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Remove the files, after the card of an extract that only MLflow has."""
        if not items:
            return []
        try:
            store = open_store(self._settings)
        except TrackingError as error:
            return [_not_cleaned(item, str(error)) for item in items]
        left = []
        for item in items:
            if not (self._settings.paths.extracts / f"{item.extract_sha256}.json").exists():
                write_card(self._settings.paths, item)
            try:
                if (run := find_run(store, item.name, deleted=True)) is not None:
                    for path in item.files:
                        run.folder.remove(path)
            except TrackingError as error:
                left.append(_not_cleaned(item, str(error)))
        return left

    def _runs(self, store: Store, learner: Learner, to_remove: dict[str, Item]) -> list[Item]:
        kept = {path.stem for path in self._settings.paths.extracts.glob("[!.]*.json")} - to_remove.keys()
        recorded = {str(record.tracking["run_id"]): record for _, record in records(self._settings.paths)}
        runs, items = runs_with_data(store), []
        for run_id, record in recorded.items():
            if run_id in runs or record.extract_sha256 in kept:
                continue
            if (run := find_run(store, run_id, deleted=True)) is not None:
                runs[run_id] = run
            elif record.tracking["address"] != store.label:
                reason = (
                    f"MLflow run {run_id} was recorded at {record.tracking['address']} and is not at {store.label}: "
                    "purge once more with that MLFLOW_TRACKING_URI"
                )
                items.append(Item(KIND, run_id, reason, ErasureAction.CANNOT_REMOVE))
        for run_id, run in runs.items():
            record_of_run = recorded.get(run_id)
            # People can change the tag, not the record.
            sha256 = record_of_run.extract_sha256 if record_of_run else run.tags["data.sha256"]
            if sha256 not in kept:
                items += _of_run(run, learner, to_remove.get(sha256), sha256, record_of_run)
        return items


def _has_runs(tracking_uri: str) -> bool:
    """Whether there may be runs at all: a database that is no file yet need not be made to look into it."""
    try:
        address = make_url(tracking_uri)
    except ArgumentError:
        return True
    return address.get_backend_name() != "sqlite" or Path(address.database or "").is_file()


def _models(paths: DataFolder, extracts: Collection[str]) -> list[Item]:
    """The registered models that were trained on extracts, named by hash."""
    models = [record.results.get(MODEL) for _, record in records(paths) if record.extract_sha256 in extracts]
    names = sorted({(str(model["name"]), str(model["version"])) for model in models if isinstance(model, dict)})
    return [
        Item(
            "model",
            f"{name} version {version}",
            f"model {name} version {version} was trained on data that held this learner, or may have",
            ErasureAction.KEEP,
        )
        for name, version in names
    ]


def _of_run(run: MlflowRun, learner: Learner, to_remove: Item | None, sha256: str, record: Record | None) -> list[Item]:
    """The items of a run; none where its extract is confirmed to be another learner's."""
    sizes = run.folder.sizes()
    paths = tuple(path for path in sizes if shows_days(path, record))
    if not paths:
        return []
    run_id, reason, protocol_id, holds = run.run_id, "", None, False
    if to_remove is not None and to_remove.names_learner:
        reason, protocol_id, holds = to_remove.reason, to_remove.protocol_id, True
    else:
        reason = "whose events it holds is not known; only MLflow had it"
        if EXTRACT in paths:
            extract = summarize_extract(run.folder.content(EXTRACT), sha256)
            holds = learner.owns(extract)
            if holds:
                reason, protocol_id = "holds the learner's events; only MLflow had it", extract.protocol_id
            elif learner.is_not_of(extract):
                return []
            elif extract.learners is not None and extract.intact:
                unknown = (
                    f"{learner.key_problem}. Whose events MLflow run {run_id} has is not known, for no kept snapshot "
                    "has its protocol. Purge once more with the key that made them"
                )
                return [Item(KIND, run_id, unknown, ErasureAction.CANNOT_REMOVE)]
    if run.run.info.status in _RUNNING_STATUSES:
        at_work = f"MLflow run {run_id} is still running: purge once more when it has ended"
        return [Item(KIND, run_id, at_work, ErasureAction.CANNOT_REMOVE)]
    others = [path for path in sizes if path not in paths and not path.startswith(_PROVENANCE)]
    item = Item(
        kind=KIND,
        name=run_id,
        reason=f"{', '.join(paths)}: extract {sha256[:12]} {reason}",
        names_learner=holds,
        bytes=sum(sizes[path] for path in paths),
        protocol_id=protocol_id,
        extract_sha256=sha256,
        files=paths,
    )
    return [
        item,
        *(
            Item(
                "file",
                f"{run_id}/{path}",
                f"{path} of MLflow run {run_id} was added by people, and was not looked into",
                ErasureAction.KEEP,
            )
            for path in others
        ),
    ]


def shows_days(path: str, record: Record | None) -> bool:
    """Whether a file of a run was made by an analysis and shows days, or is drawn from them.

    Args:
        path: in the run's artifacts.
        record: the run's record, which names its files; None for a run that ended before it was recorded.
    """
    if path.startswith(_PROVENANCE):
        return path == EXTRACT
    return (
        path in {DAILY, DAYS, RESULTS, REPORT, MANUSCRIPT}
        or path.endswith(".png")
        or (record is not None and path in record.artifacts)
    )


def _not_cleaned(item: Item, why: str) -> Item:
    return Item(KIND, item.name, f"MLflow run {item.name} was not cleaned: {why}", ErasureAction.CANNOT_REMOVE)
