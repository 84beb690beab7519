"""Compare code, environment and data of a record with the present ones. Differences are no fault."""

from collections.abc import Iterator
from dataclasses import asdict

from americano_pipelines.analysis.extract import BaseExtract
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.errors import AnalysisError, PseudonymKeyError, WarehouseUnavailableError
from americano_pipelines.provenance.capture import (
    UNKNOWN,
    Code,
    capture_code,
    capture_environment,
    describe_commit,
    dvc_lock_sha256,
)
from americano_pipelines.provenance.input_reading import read_input, recorded_request
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.verify.findings import Finding, Status, short
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.snapshots import open_published, record_of

EVENTS_ASSET = f"analytics/{EVENTS.name}"


def check_environment(record: Record) -> Iterator[Finding]:
    """Compare code and environment with those that are running."""
    code = capture_code()
    yield _commit(_known(record.code.commit), _known(code.commit))
    yield _same("uncommitted changes", _changes(record.code.dirty, record.code.diff_sha256), _changes_of(code))
    yield _modules(record.code.modules, code.modules)
    kind = KINDS.get(record.identity.analysis)
    yield _same("analysis version", record.identity.analysis_version, kind.version if kind else None)
    present = asdict(capture_environment())
    was = record.environment
    for name in ("python", "platform", "lock_sha256"):
        yield _same(name.replace("lock_sha256", "requirements.lock"), was.get(name), present[name])
    yield _same("dvc.lock", record.dvc_lock_sha256, dvc_lock_sha256())
    packages = was.get("packages")
    for name, version in (packages if isinstance(packages, dict) else {}).items():
        yield _same(f"package {name}", version, present["packages"].get(name))


def present_data(settings: Settings, record: Record) -> Iterator[Finding]:
    """Read the same input from the file that is published now, and compare."""
    what = "data"
    try:
        with open_published(settings) as connection:
            document = record_of(connection)
            if document is None:
                yield Finding("currency", what, Status.UNKNOWN, "the published file has no record of itself")
            elif record.identity.partition is None or record.identity.analysis not in KINDS:
                for source in record.inputs:
                    version = document.states.get(source.asset.replace("/", "."))
                    yield _same(f"data of {source.asset}", source.data_version, version)
            else:
                request = recorded_request(KINDS[record.identity.analysis], record)
                extract = read_input(settings, connection, document, request)
                yield _extracts(record, extract)
    except (WarehouseUnavailableError, PseudonymKeyError) as error:
        yield Finding("currency", what, Status.UNKNOWN, str(error))
    except AnalysisError as error:
        yield Finding("currency", what, Status.CHANGED, str(error))


def _extracts(record: Record, extract: BaseExtract) -> Finding:
    """What differs between the input as it was and as it would be."""
    if extract.sha256 == record.extract_sha256:
        return Finding("currency", "data", Status.SAME)
    differing = []
    if extract.protocol_sha256 != record.protocol_sha256:
        differing.append("the protocol changed" if record.identity.group is None else "its protocols changed")
    if extract.phases_sha256 != record.phases_sha256:
        differing.append("its phases changed")
    rows = next((source.rows for source in record.inputs if source.asset == EVENTS_ASSET), 0)
    if more := len(extract.outcomes) - rows:
        differing.append(f"{abs(more):,} events {'more' if more > 0 else 'fewer'} than the {rows:,} there were")
    return Finding(
        "currency",
        "data",
        Status.CHANGED,
        "; ".join(differing) or f"the same number of events ({rows:,}), with different content",
    )


def _modules(recorded: dict[str, str], present: dict[str, str]) -> Finding:
    changed = sorted(path for path in recorded.keys() | present.keys() if recorded.get(path) != present.get(path))
    status = Status.CHANGED if changed else Status.SAME
    return Finding("currency", "modules of the analyses", status, ", ".join(changed))


def _same(what: str, recorded: object, present: object) -> Finding:
    """A recorded value against the present one; None where nothing was there or it was not known."""
    if recorded is None and present is None:
        return Finding("currency", what, Status.NOT_RECORDED, "not available when recorded, not available now")
    if recorded == present:
        return Finding("currency", what, Status.SAME)
    texts = [short(str(value)) if value is not None else "nothing" for value in (recorded, present)]
    return Finding("currency", what, Status.CHANGED, f"was {texts[0]}, is {texts[1]}")


def _commit(recorded: str | None, present: str | None) -> Finding:
    """The recorded commit against the present one: a newer one is no loss, one that vanished is."""
    finding = _same("commit", recorded, present)
    if finding.status is not Status.CHANGED or recorded is None or present is None:
        return finding
    kept, where = describe_commit(recorded)
    status = Status.CHANGED if kept else Status.UNKNOWN
    return Finding(finding.group, finding.what, status, f"{finding.detail}; of the recorded one: {where}")


def _known(commit: str) -> str | None:
    return None if commit == UNKNOWN else commit


def _changes_of(code: Code) -> str | None:
    return _changes(code.dirty, code.diff_sha256)


def _changes(dirty: bool | None, diff_sha256: str) -> str | None:  # noqa: FBT001 - as it is recorded
    """What a working tree differed by, in a word that can be compared."""
    return None if dirty is None else f"some, {diff_sha256[:12]}" if dirty else "none"
