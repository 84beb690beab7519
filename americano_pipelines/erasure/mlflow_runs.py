"""Find and remove the files of MLflow runs that show the days of an erased extract.

The record, the lock file, the diff and the numbers of a run stay; models stay too and are named.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from americano_pipelines.erasure.extracts import Erased, ExtractToErase, summarize_extract
from americano_pipelines.mlflow_store.artifacts import RunFiles, find_run_files, runs_with_data
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.registered_models import MODEL
from americano_pipelines.provenance.archive import extracts_dir, records
from americano_pipelines.provenance.perform import DAILY, REPORT, RESULTS
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.recorder import EXTRACT
from americano_pipelines.settings import Settings

_PROVENANCE = "provenance/"
# Why an extract is not condemned either: its pseudonyms are of another key.
_UNJUDGED = "was made with another key"
_AT_WORK = frozenset({"RUNNING", "SCHEDULED"})


@dataclass(frozen=True)
class RunCopies:
    """What an MLflow run has of a learner's days.

    Attributes:
        files: the run.
        extract: the extract that it is of.
        paths: its files that show them.
        bytes: their size.
        others: files that people added, which nobody looked into.
    """

    files: RunFiles
    extract: ExtractToErase
    paths: list[str]
    bytes: int
    others: list[str]


def has_records(settings: Settings) -> bool:
    """Whether there may be runs at all: a database that is no file yet need not be made to look into it."""
    try:
        address = make_url(settings.tracking_uri)
    except ArgumentError:
        return True
    return address.get_backend_name() != "sqlite" or Path(address.database or "").is_file()


def find_copies(
    settings: Settings, store: Store, erased: Erased, condemned: Iterable[ExtractToErase]
) -> tuple[list[RunCopies], list[str]]:
    """The files of MLflow runs that go with a learner.

    Looked at are the runs of condemned extracts, and those whose extract is not in the archive: it was purged while
    MLflow did not answer, or the run failed before it was recorded. These are judged by the extract that they hold.

    Args:
        settings: the archive.
        store: where the runs are.
        erased: the learner.
        condemned: the extracts that go.

    Returns:
        What was found, and in words what could not be looked at.

    Raises:
        TrackingError: MLflow does not answer.
    """
    going = {judged.sha256: judged for judged in condemned}
    left = {path.stem for path in extracts_dir(settings).glob("[!.]*.json")} - going.keys()
    recorded = {str(judged.tracking["run_id"]): judged for _, judged in records(settings)}
    runs, problems = runs_with_data(store), []
    for run_id, record in recorded.items():
        if run_id in runs or record.extract_sha256 in left:
            continue
        if (files := find_run_files(store, run_id)) is not None:
            runs[run_id] = files
        elif record.tracking["address"] != store.label:
            problems.append(
                f"MLflow run {run_id} was recorded at {record.tracking['address']} and is not at {store.label}: "
                "purge once more with that MLFLOW_TRACKING_URI"
            )
    copies = []
    for run_id, files in runs.items():
        record_of = recorded.get(run_id)
        # People can change the tag, not the record.
        sha256 = record_of.extract_sha256 if record_of else files.run.data.tags["data.sha256"]
        if sha256 in left:
            continue
        sizes = files.sizes()
        paths = [path for path in sizes if _shows_days(path, record_of)]
        judged = _judged(files, erased, going.get(sha256), sha256, paths) if paths else None
        if judged is None:
            continue
        if not judged.holds and judged.reason == _UNJUDGED:
            problems.append(
                f"{erased.key_problem}. Whose events MLflow run {run_id} has is not known, for no kept snapshot has "
                "its protocol. Purge once more with the key that made them"
            )
            continue
        if files.run.info.status in _AT_WORK:
            problems.append(f"MLflow run {run_id} is still at work: purge once more when it has ended")
            continue
        others = [path for path in sizes if path not in paths and not path.startswith(_PROVENANCE)]
        copies.append(RunCopies(files, judged, paths, sum(sizes[path] for path in paths), others))
    return copies, problems


def models_trained_on(settings: Settings, extracts: Collection[str]) -> list[tuple[str, str]]:
    """Name and version of the registered models that were trained on extracts, named by hash."""
    models = [record.results.get(MODEL) for _, record in records(settings) if record.extract_sha256 in extracts]
    return sorted({(str(model["name"]), str(model["version"])) for model in models if isinstance(model, dict)})


def _shows_days(path: str, record: Record | None) -> bool:
    """Whether a file is one of ours that shows days, or is drawn from them."""
    if path.startswith(_PROVENANCE):
        return path == EXTRACT
    return (
        path in {DAILY, RESULTS, REPORT} or path.endswith(".png") or (record is not None and path in record.artifacts)
    )


def _judged(
    files: RunFiles, erased: Erased, condemned: ExtractToErase | None, sha256: str, paths: list[str]
) -> ExtractToErase | None:
    """The extract of a run, if it goes; one that the archive cannot tell about is asked itself."""
    if condemned is not None and condemned.holds:
        return condemned
    reason, protocol_id, holds, size = "whose events it holds is not known", None, False, 0
    if EXTRACT in paths:
        content = files.content(EXTRACT)
        it, size = summarize_extract(content, sha256), len(content)
        holds = erased.owns(it)
        if holds:
            reason, protocol_id = "holds the learner's events", it.protocol_id
        elif it.learners is not None and it.intact:
            if erased.is_not_of(it):
                return None
            return ExtractToErase(sha256, None, None, holds, _UNJUDGED, size)
    return ExtractToErase(sha256, None, protocol_id, holds, f"{reason}; only MLflow had it", size)
