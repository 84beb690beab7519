"""Choose the record to verify when the locations that hold it may have been tampered with.

Take the intact record in the archive; without one, MLflow's copy, as long as another location names its hash.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from americano_pipelines.app_database import statements
from americano_pipelines.app_database.column_values import SUMMARY, derived_row_id
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import AmericanoError, AnalysisError, TamperedError
from americano_pipelines.mlflow_store.artifacts import MlflowRun, find_run
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import HASH_TAG, UNKNOWN, search
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import find_records
from americano_pipelines.provenance.record_lookup import find_record
from americano_pipelines.provenance.recorder import RECORD
from americano_pipelines.settings import DataFolder, PostgresTarget, Settings


@dataclass(frozen=True)
class AppHash:
    """What the app stores about an analysis.

    Attributes:
        sha256: the hash in the row, None when there is none.
        not_recorded: why none is to be expected, None when one is.
    """

    sha256: str | None
    not_recorded: str | None = None


def app_row_id(record: Record) -> str:
    """The id of the row of a recorded analysis: one that had none may have been given one by `americano link`."""
    identity, orchestrator = record.identity, record.orchestrator
    if identity.analysis_run_id is not None:
        return identity.analysis_run_id
    return derived_row_id(
        str(orchestrator["dagster_run_id"]), str(orchestrator["asset_key"]), orchestrator["partition"]
    )


def app_hash(app: PostgresTarget | None, record: Record) -> AppHash:
    """Read the row of a recorded analysis.

    Raises:
        AppRowError: the app's database cannot be read; TransientAppRowError: it cannot be reached.
    """
    if app is None:
        return AppHash(None, "ANALYSIS_RUNS_DATABASE_URL is not set")
    row = statements.read_row(app, app_row_id(record))
    if row is None and record.identity.analysis_run_id is None:
        return AppHash(None, "the app has no row for it")
    if row is not None and SUMMARY not in row:
        return AppHash(None, f"the app's table has no column {SUMMARY}")
    summary = (row or {}).get(SUMMARY)
    sha256 = summary.get("provenance_sha256") if isinstance(summary, dict) else None
    return AppHash(None if sha256 is None else str(sha256))


# What Dagster stores about a record: the hashes in the metadata of all materializations of its asset and partition by
# its run.
DagsterHashes = Callable[[Record], Sequence[str]]


@dataclass(frozen=True)
class Target:
    """What is verified.

    Attributes:
        record: the record that everything is compared with.
        sha256: its hash.
        taken_from: where it was read, in words.
        run: its MLflow run, None when that is gone.
        duplicate_records: hashes of other intact records of the same MLflow run; there should be none.
    """

    record: Record
    sha256: str
    taken_from: str
    run: MlflowRun | None
    duplicate_records: tuple[str, ...]


def choose_target(settings: Settings, store: Store, name: str, in_dagster: DagsterHashes) -> Target:
    """Find the record that a name means, wherever an intact copy of it is left.

    Args:
        settings: whose archive.
        store: MLflow.
        name: as `provenance.record_lookup.find_record` takes it.
        in_dagster: what Dagster stores about a record.

    Raises:
        AnalysisError: there is none, or the MLflow run of that name was never recorded.
        TamperedError: what is left of it is vouched for by no other place.
        TrackingError: MLflow does not answer; AppRowError: the app's database does not.
    """
    try:
        sha256, record = find_record(settings.paths, name)
    except (AnalysisError, TamperedError) as error:
        named = _named(settings.paths, store, name, error)
        try:
            sha256, record = find_record(settings.paths, named.run_id)
        except AnalysisError:
            sha256, record = _record_from_mlflow(settings, named, in_dagster)
            why = "was changed" if (settings.paths.records / f"{sha256}.json").exists() else "is gone"
            return Target(record, sha256, f"MLflow's copy, because the archive's copy {why}", named, ())
    run = find_run(store, str(record.tracking["run_id"]))
    intact = {sha256: record} | dict(find_records(settings.paths, "mlflow_run_id", str(record.tracking["run_id"])))
    if name in {record.tracking["run_id"], record.identity.analysis_run_id}:
        # Not named by its hash: of several, the one that Dagster has, whose log is the hardest to rewrite.
        sha256 = max(
            intact,
            key=lambda candidate: (
                candidate in in_dagster(intact[candidate]),
                run is not None and run.record_tag == candidate,
            ),
        )
    duplicates = tuple(sorted(intact.keys() - {sha256}))
    return Target(intact[sha256], sha256, "the archive", run, duplicates)


def _named(paths: DataFolder, store: Store, name: str, error: AmericanoError) -> MlflowRun:
    """The MLflow run that a name means when no intact record of the archive has it."""
    prefix = name.lower() if len(name) >= 8 and set(name.lower()) <= set("0123456789abcdef") else None  # noqa: PLR2004
    if prefix and len(list(paths.records.glob(f"{prefix}*.json"))) > 1:
        raise error
    quoted = name.replace("'", "")
    runs = [run] if (run := find_run(store, name)) else []
    if not runs and name != UNKNOWN:
        runs = _tagged(store, f"tags.analysis_run_id = '{quoted}'")
    if not runs and prefix:
        runs = _tagged(store, f"tags.`{HASH_TAG}` LIKE '{prefix}%'")
        if len(runs) > 1:
            raise AnalysisError(
                f"{len(runs)} MLflow runs have a record whose hash begins with {name}: give more digits"
            )
    if not runs:
        raise type(error)(f"{error}. `americano runs` lists all there are")
    recorded = [run for run in runs if run.record_tag is not None]
    return (recorded or runs)[-1]


def _tagged(store: Store, condition: str) -> list[MlflowRun]:
    return [MlflowRun(store, run) for run in search(store, store.experiment_id, condition)]


def _record_from_mlflow(settings: Settings, run: MlflowRun, in_dagster: DagsterHashes) -> tuple[str, Record]:
    text = run.content(RECORD)
    if text is None:
        if run.record_tag is None:
            raise AnalysisError(
                f"MLflow run {run.run_id} has no record: it is {run.run.info.status}, and only an analysis that came "
                "to its end is recorded; `americano runs` lists them"
            )
        raise TamperedError(
            f"the record of MLflow run {run.run_id} is gone from {settings.paths.records} and from its artifacts: only "
            f"its hash is left, {run.record_tag}"
        )
    sha256 = sha256_hex(text)
    kept = (settings.paths.records / f"{sha256}.json").exists()
    record = Record.parse(text)
    vouched = kept or run.record_tag == sha256 or sha256 in {*in_dagster(record), app_hash(settings.app, record).sha256}
    if not vouched:
        raise TamperedError(
            f"MLflow run {run.run_id} has a record that hashes to {sha256}, and no other place knows that hash (its "
            f"tag says {run.record_tag}): there is nothing left to verify it against"
        )
    return sha256, record
