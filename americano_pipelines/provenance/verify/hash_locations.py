"""Compare the record's hash in each location: archive, MLflow tag and artifact, Dagster, the app's row.

A result that is changed unnoticed is changed in all of them.
"""

from collections.abc import Collection, Iterator

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.mlflow_store.runs import HASH_TAG
from americano_pipelines.provenance.chain import Chain, earlier_records, read_chain
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import INDEX as INDEX_FILE
from americano_pipelines.provenance.record_index import all_entries, find_records
from americano_pipelines.provenance.recorder import RECORD
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.integrity import purged
from americano_pipelines.provenance.verify.target import DagsterHashes, Target, app_hash
from americano_pipelines.settings import DataFolder, Settings

_FILE, _TAG, _ARTIFACT = "file in the archive", f"MLflow tag {HASH_TAG}", f"MLflow artifact {RECORD}"
_DAGSTER, ROW, CHAIN = "Dagster's metadata", "the app's row", "chain of records"
INDEX = "index of the records"


def hash_locations(settings: Settings, subject: Target, in_dagster: DagsterHashes) -> Iterator[Finding]:
    """Look at all places.

    Args:
        settings: whose archive, and which app.
        subject: the record.
        in_dagster: what Dagster stores about a record.

    Raises:
        TrackingError: MLflow does not answer; AppRowError: the app's database does not.
    """
    path = settings.paths.records / f"{subject.sha256}.json"
    kept = sha256_hex(path.read_bytes()) if path.exists() else None
    yield _location(_FILE, subject.sha256, kept)
    run = subject.run
    never = "never set: recording did not finish"
    yield _location(
        _TAG, subject.sha256, run.record_tag if run else None, never if run and HASH_TAG in run.tags else ""
    )
    yield _location(_ARTIFACT, subject.sha256, run.sha256(RECORD) if run else None)
    dagsters = _dagster(settings.paths, subject, in_dagster)
    yield dagsters
    # Accept a later analysis in the row only if Dagster confirms this record, because an earlier record can be forged.
    yield _row(settings, subject, may_be_superseded=dagsters.status in {Status.MATCH, Status.PURGED})
    chain = read_chain(settings.paths, from_files=True)
    yield _chained(settings.paths, subject, chain)
    yield _indexed(settings.paths, chain)
    for duplicate in subject.duplicate_records:
        yield Finding(
            "record", f"another record, {duplicate}", Status.DRIFT, "one MLflow run has one record; this is a second"
        )


def _location(what: str, sha256: str, actual: str | None, why_none: str = "") -> Finding:
    if actual is None:
        return Finding("record", what, Status.MISSING, why_none)
    if actual == sha256:
        return Finding("record", what, Status.MATCH)
    return Finding("record", what, Status.DRIFT, f"{actual} is there")


def _dagster(paths: DataFolder, subject: Target, in_dagster: DagsterHashes) -> Finding:
    """Compare with Dagster's materializations. A retried step has one per completed attempt."""
    hashes = in_dagster(subject.record)
    if not hashes and subject.record.identity.partition is not None and purged(paths, subject.record):
        return Finding("record", _DAGSTER, Status.PURGED)  # its events show pictures of the learner's days
    if subject.sha256 in hashes:
        return Finding("record", _DAGSTER, Status.MATCH)
    return _location(_DAGSTER, subject.sha256, ", ".join(hashes) or None)


def _row(settings: Settings, subject: Target, *, may_be_superseded: bool) -> Finding:
    """The app's row, which has the hash of the last analysis only that answered it."""
    row = app_hash(settings.app, subject.record)
    if row.not_recorded is not None:
        return Finding("record", ROW, Status.NOT_RECORDED, row.not_recorded)
    if may_be_superseded and row.sha256 is not None and row.sha256 != subject.sha256:
        for sha256, other in find_records(settings.paths, "sha256", row.sha256):
            if _follows(subject.record, other):
                return Finding("record", ROW, Status.NOT_RECORDED, f"{sha256} is there, a later analysis of it")
    return _location(ROW, subject.sha256, row.sha256)


def _indexed(paths: DataFolder, chain: Chain) -> Finding:
    """Whether the index, from which lists of results are printed, says what the records say."""
    listed = {entry.sha256: entry for entry in all_entries(paths)}
    records = {entry.sha256: entry for entry in chain.entries}
    # A record that was written meanwhile is in one of them only.
    wrong = sorted(name for name in listed.keys() & records.keys() if listed[name] != records[name])
    if not wrong:
        return Finding("record", INDEX, Status.MATCH)
    names = ", ".join(name[:12] for name in wrong)
    return Finding(
        "record",
        INDEX,
        Status.DRIFT,
        f"it shows something else of {names}: remove {paths.records / INDEX_FILE}",
    )


def _chained(paths: DataFolder, subject: Target, chain: Chain) -> Finding:
    """Whether the record has its place in the chain, with nothing gone before it."""
    link = subject.record.chain
    if link is None:
        return _unchained(subject, chain, earlier_records(paths, chain))
    gone = [
        f"record {number}{f' ({sha256[:12]})' if sha256 else ''} is gone or was changed"
        for number, sha256 in chain.missing(before=link.number).items()
    ]
    gone += [
        f"record {sha256[:12]}, from before records were chained, is gone or was changed"
        for sha256 in chain.gone_from_before(earlier_records(paths, chain))
    ]
    if gone:
        return Finding("record", CHAIN, Status.MISSING, "; ".join(gone))
    shared = {entry.sha256 for entry in chain.links.get(link.number, [])} - {subject.sha256}
    named = {sha256 for sha256 in (chain.names.get(link.number), *shared) if sha256 is not None}
    before = {entry.sha256 for entry in chain.links.get(link.number - 1, [])}
    if named - {subject.sha256} or (before and link.previous not in before):
        return Finding(
            "record", CHAIN, Status.DRIFT, f"place {link.number} is that of record {', '.join(sorted(named))}"
        )
    return Finding("record", CHAIN, Status.MATCH, f"record {link.number} of {max(chain.length, link.number)}")


def _unchained(subject: Target, chain: Chain, earlier: Collection[str]) -> Finding:
    if not chain.links:
        return Finding(
            "record", CHAIN, Status.NOT_RECORDED, "from before records were chained: one that was removed leaves no gap"
        )
    if subject.sha256 in earlier:
        detail = "from before records were chained; the first chained record names it"
        return Finding("record", CHAIN, Status.MATCH, detail)
    detail = "it has no place, and was not there when the chain began"
    return Finding("record", CHAIN, Status.DRIFT, detail)


def _follows(record: Record, other: Record) -> bool:
    """Whether another record is of the same step of Dagster's, or of the same row, another MLflow run and later."""
    row = record.identity.analysis_run_id
    same = record.orchestrator == other.orchestrator or (row is not None and row == other.identity.analysis_run_id)
    return (
        same
        and record.tracking["run_id"] != other.tracking["run_id"]
        and record.identity.started_at < other.identity.started_at
    )
