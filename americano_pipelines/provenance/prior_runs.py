"""Find the prior analyses of a protocol, in the archive, in MLflow, in Dagster's log and in the app's rows.

What one of these places, or the chain of records, knows of a record that is gone makes the next run exploratory.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from americano_pipelines.analysis.plan_compliance import PriorRun, PriorRuns
from americano_pipelines.analysis.registry import GROUP_KINDS
from americano_pipelines.common.hashing import SHA256
from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import (
    ASSET_TAG,
    HASH_TAG,
    PARENT_TAG,
    PROTOCOL_TAG,
    UNKNOWN,
    record_hash,
    search,
)
from americano_pipelines.provenance.archive import get
from americano_pipelines.provenance.chain import earlier_records, read_chain
from americano_pipelines.provenance.plan_standing import PriorSightings
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import all_entries, find_entries, find_records
from americano_pipelines.settings import DataFolder
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.plan_history import PlanSighting

if TYPE_CHECKING:
    from americano_pipelines.mlflow_store.runs import Run


@dataclass(frozen=True)
class Subject:
    """What analyses are of.

    Attributes:
        column: of the index of records: a protocol by its id, or a group by its key.
        name: the id or the key.
    """

    column: Literal["protocol_id", "group_key"]
    name: str


def find_prior_runs(
    paths: DataFolder, store: Store, subject: Subject, run_id: str, hash_places: Mapping[str, str]
) -> PriorRuns:
    """The analyses of a protocol or a group before the one whose MLflow run this is.

    A record whose hash neither its MLflow run, Dagster's log nor a row of the app has was left by a process that died
    while it recorded. It does not make the next run exploratory; it is only counted.

    Args:
        paths: whose archive.
        store: MLflow.
        subject: the protocol or the group.
        run_id: the run that is under way.
        hash_places: hash of each of its records that Dagster's log or the app's rows name, to that place.

    Raises:
        TrackingError: MLflow does not answer.
    """
    runs = {run.info.run_id: run for run in _runs(store, subject) if run.info.run_id != run_id}
    recorded = []
    listed = dict(find_records(paths, subject.column, subject.name))
    unlisted = _unlisted_records(paths, subject, hash_places.keys() - listed.keys())
    for sha256, record in [*listed.items(), *unlisted]:
        run = runs.get(str(record.tracking["run_id"]))
        if run is None or record_hash(run) is not None or sha256 in hash_places:
            recorded.append(_of_record(record))
            runs.pop(str(record.tracking["run_id"]), None)
    recorded += [_of_run(run) for run in runs.values() if record_hash(run) is not None]
    ended = [run for run in runs.values() if record_hash(run) is None and run.info.status != "RUNNING"]
    # A file that is changed may be indexed as it was.
    unreadable = find_entries(paths, "readable", False)  # noqa: FBT003 - a value of the column
    of_subject = find_entries(paths, subject.column, subject.name)
    changed = {entry.sha256 for entry in (*unreadable, *of_subject)} - listed.keys()
    counted_hashes = {record_hash(run) for run in runs.values()}
    vanished = tuple(_vanished(paths, store, subject, counted_hashes, hash_places))
    return PriorRuns(tuple(recorded), unrecorded=len(ended), changed_records=len(changed), vanished=vanished)


def _unlisted_records(paths: DataFolder, subject: Subject, hashes: Collection[str]) -> Iterator[tuple[str, Record]]:
    """The records of the subject that the index does not list as such; the index is a file that can be edited."""
    for sha256 in hashes:
        if SHA256.fullmatch(sha256) is None:
            continue
        try:
            record = Record.parse(get(paths.records, sha256))
        except (OSError, TamperedError, AnalysisError):
            continue  # what is gone or changed is counted as such
        named = record.identity.protocol_id if subject.column == "protocol_id" else record.identity.group
        if named == subject.name:
            yield sha256, record


def find_prior_sightings(paths: DataFolder, protocol_id: str) -> PriorSightings:
    """What the archive knows of when the project saw plans, which a lost published file no longer does."""
    sightings = _plan_sightings([record for _, record in find_records(paths, "protocol_id", protocol_id)])
    first = min(
        (entry for entry in all_entries(paths) if entry.readable and entry.chain_number is not None),
        key=lambda entry: entry.started_at or "",
        default=None,
    )
    oldest = [record for _, record in find_records(paths, "sha256", first.sha256)] if first is not None else []
    instants = [source.instant for record in oldest for source in record.inputs]
    watched = [sighting.watched_since for sighting in (*sightings, *_plan_sightings(oldest))]
    latest = [max(instants, key=datetime.fromisoformat)] if instants else []
    since = min((*watched, *latest), key=datetime.fromisoformat, default=None)
    return PriorSightings(tuple(sightings), since)


def _plan_sightings(records: Iterable[Record]) -> list[PlanSighting]:
    """When the plans of recorded analyses were seen."""
    standings = [record.standing for record in records if record.standing is not None]
    return [standing.plan_seen for standing in standings if standing.plan_seen is not None]


def _vanished(
    paths: DataFolder,
    store: Store,
    subject: Subject,
    counted_hashes: Collection[str | None],
    hash_places: Mapping[str, str],
) -> Iterator[str]:
    """Records that were there and are gone, in words.

    A changed file is no gap, for it is counted as changed. A run of MLflow of another subject excuses a gap of the
    chain, but not a record that this one's own places name: the tags of a run can be edited.
    """
    chain = read_chain(paths)
    files = {entry.sha256 for entry in chain.entries}
    missing_records: dict[str, str] = {}
    for number, sha256 in chain.missing().items():
        if sha256 is None:
            yield f"record {number} of the chain is gone"
        else:
            missing_records[sha256] = f"record {number} of the chain, {sha256[:12]}, is gone"
    for sha256 in chain.gone_from_before(earlier_records(paths, chain)):
        missing_records[sha256] = f"record {sha256[:12]}, from before records were chained, is gone"
    for sha256, place in hash_places.items():
        missing_records.setdefault(sha256, f"record {sha256[:12]}, which {place} names, is gone")
    for sha256, words in sorted(missing_records.items()):
        if sha256 in files or sha256 in counted_hashes:
            continue
        runs_with_hash = (
            search(store, store.experiment_id, f"tags.`{HASH_TAG}` = '{sha256}'") if SHA256.fullmatch(sha256) else []
        )
        is_of_subject = sha256 in hash_places
        if is_of_subject or not runs_with_hash or any(_is_of(run, subject) for run in runs_with_hash):
            yield words


def _runs(store: Store, subject: Subject) -> "list[Run]":
    """The runs of analyses; the name may hold either quote, and MLflow's conditions take one only."""
    name = subject.name
    quote = '"' if "'" in name else "'"
    condition = "" if quote in name else f"tags.`{PROTOCOL_TAG}` = {quote}{name}{quote}"
    runs = search(store, store.experiment_id, condition)
    return [run for run in runs if PARENT_TAG in run.data.tags and _is_of(run, subject)]


def _is_of(run: "Run", subject: Subject) -> bool:
    """Whether a run is of the subject; a group may have the key that is a protocol's id."""
    of_group = run.data.tags.get(ASSET_TAG, UNKNOWN).rpartition("/")[2] in GROUP_KINDS
    return run.data.tags.get(PROTOCOL_TAG) == subject.name and of_group is (subject.column == "group_key")


def _of_record(record: Record) -> PriorRun:
    events = f"analytics/{EVENTS.name}"
    # A combined analysis reads no events, but records.
    of_events = [source for source in record.inputs if source.asset == events] or record.inputs
    instants = [datetime.fromisoformat(source.instant) for source in of_events]
    known_to = round(max(instants).timestamp() * 1_000_000) if instants else None
    left_out = record.results.get("left out")
    untested = isinstance(left_out, list) and any(isinstance(row, dict) and row["record"] == "none" for row in left_out)
    return PriorRun(record.identity.analysis, str(record.config.get("outcome")), known_to, complete=not untested)


def _of_run(run: "Run") -> PriorRun:
    """Build from a run without a record; its data is unknown."""
    kind = run.data.tags.get(ASSET_TAG, UNKNOWN).rpartition("/")[2]
    return PriorRun(kind, run.data.params.get("outcome", UNKNOWN), None)
