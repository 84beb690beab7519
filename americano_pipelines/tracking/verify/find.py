"""Which record a verification goes by, when the places that hold it may have been tampered with.

Here belongs choosing it. A file whose bytes hash to its name was not changed; what a tag says may have been. So the
archive's intact record of the MLflow run is taken; if there is none, MLflow's copy, as long as some other place names
its hash. What each place says then is `places.py`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from americano_pipelines.errors import AmericanoError, AnalysisError, TamperedError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import records_dir
from americano_pipelines.tracking.history import find_record, records
from americano_pipelines.tracking.lifecycle import search
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.recording import HASH_TAG, RECORD
from americano_pipelines.tracking.store import Store
from americano_pipelines.tracking.verify.app_row import in_app
from americano_pipelines.tracking.verify.mlflow_run import UNSET, MlflowRun, find_run

# What Dagster has of a record: the hashes in the metadata of all materializations of its asset and partition by its
# run.
InDagster = Callable[[Record], Sequence[str]]


@dataclass(frozen=True)
class Subject:
    """What is verified.

    Attributes:
        record: the record that everything is compared with.
        sha256: its hash.
        taken_from: where it was read, in words.
        run: its MLflow run, None when that is gone.
        rivals: hashes of other intact records of the same MLflow run; there should be none.
    """

    record: Record
    sha256: str
    taken_from: str
    run: MlflowRun | None
    rivals: tuple[str, ...]


def find(settings: Settings, store: Store, name: str, in_dagster: InDagster) -> Subject:
    """Find the record that somebody names, wherever an intact copy of it is left.

    Args:
        settings: whose archive.
        store: MLflow.
        name: as `tracking.history.find_record` takes it.
        in_dagster: what Dagster has of a record.

    Raises:
        AnalysisError: there is none, or the MLflow run of that name was never recorded.
        TamperedError: what is left of it is vouched for by no other place.
        TrackingError: MLflow does not answer; LinkError: the app's database does not.
    """
    try:
        sha256, record = find_record(settings, name)
    except (AnalysisError, TamperedError) as error:
        named = _named(settings, store, name, error)
        try:
            sha256, record = find_record(settings, named.run_id)
        except AnalysisError:
            sha256, record = _mlflows_copy(settings, named, in_dagster)
            why = "was changed" if (records_dir(settings) / f"{sha256}.json").exists() else "is gone"
            return Subject(record, sha256, f"MLflow's copy, for the archive's {why}", named, ())
    run = find_run(store, str(record.tracking["run_id"]))
    intact = {sha256: record} | {
        other: found for other, found in records(settings) if found.tracking["run_id"] == record.tracking["run_id"]
    }
    if name in {record.tracking["run_id"], record.identity.analysis_run_id}:
        # Not named by its hash: of several, the one that Dagster has, whose log is the hardest to rewrite.
        sha256 = max(
            intact, key=lambda one: (one in in_dagster(intact[one]), run is not None and run.record_tag == one)
        )
    rivals = tuple(sorted(intact.keys() - {sha256}))
    return Subject(intact[sha256], sha256, "the archive", run, rivals)


def _named(settings: Settings, store: Store, name: str, error: AmericanoError) -> MlflowRun:
    """The MLflow run that a name means when no intact record of the archive has it."""
    prefix = name.lower() if len(name) >= 8 and set(name.lower()) <= set("0123456789abcdef") else None  # noqa: PLR2004
    if prefix and len(list(records_dir(settings).glob(f"{prefix}*.json"))) > 1:
        raise error
    quoted = name.replace("'", "")
    found = [run] if (run := find_run(store, name)) else []
    if not found and name != UNSET:
        found = _tagged(store, f"tags.analysis_run_id = '{quoted}'")
    if not found and prefix:
        found = _tagged(store, f"tags.`{HASH_TAG}` LIKE '{prefix}%'")
        if len(found) > 1:
            raise AnalysisError(
                f"{len(found)} MLflow runs have a record whose hash begins with {name}: name more of it"
            )
    if not found:
        raise type(error)(f"{error}. `americano runs` lists all there are")
    recorded = [run for run in found if run.record_tag is not None]
    return (recorded or found)[-1]


def _tagged(store: Store, condition: str) -> list[MlflowRun]:
    return [MlflowRun(store, run) for run in search(store, store.experiment_id, condition)]


def _mlflows_copy(settings: Settings, run: MlflowRun, in_dagster: InDagster) -> tuple[str, Record]:
    text = run.content(RECORD)
    if text is None:
        if run.record_tag is None:
            raise AnalysisError(
                f"MLflow run {run.run_id} has no record: it is {run.run.info.status}, and only an analysis that came "
                "to its end is recorded; `americano runs` lists them"
            )
        raise TamperedError(
            f"the record of MLflow run {run.run_id} is gone from {records_dir(settings)} and from its artifacts: only "
            f"its hash is left, {run.record_tag}"
        )
    sha256 = hashlib.sha256(text).hexdigest()
    kept = (records_dir(settings) / f"{sha256}.json").exists()
    record = Record.parse(text)
    vouched = kept or run.record_tag == sha256 or sha256 in {*in_dagster(record), in_app(settings, record).sha256}
    if not vouched:
        raise TamperedError(
            f"MLflow run {run.run_id} has a record that hashes to {sha256}, and no other place knows that hash (its "
            f"tag says {run.record_tag}): there is nothing left to verify it against"
        )
    return sha256, record
