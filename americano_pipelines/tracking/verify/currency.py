"""Whether an analysis that ran now would meet what the recorded one met: code, environment, data.

Here belongs comparing with the present. What differs is no fault: code moves on, and so do data.
"""

from collections.abc import Iterator
from dataclasses import asdict

from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.reading import read_extract
from americano_pipelines.errors import AnalysisError, WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.tracking.code import UNKNOWN, Code, capture_code
from americano_pipelines.tracking.environment import capture_environment, dvc_lock_sha256
from americano_pipelines.tracking.record import Record, sha256_of
from americano_pipelines.tracking.verify.findings import Finding, Status, short
from americano_pipelines.warehouse.read import document_of, open_published

EVENTS_ASSET = f"analytics/{EVENTS.name}"


def surroundings(record: Record) -> Iterator[Finding]:
    """Compare code and environment with those that are running."""
    code = capture_code()
    yield _same("commit", _known(record.code.commit), _known(code.commit))
    yield _same("uncommitted changes", _changes(record.code.dirty, record.code.diff_sha256), _changes_of(code))
    yield _modules(record.code.modules, code.modules)
    now = asdict(capture_environment())
    was = record.environment
    for name in ("python", "platform", "lock_sha256"):
        yield _same(name.replace("lock_sha256", "requirements.lock"), was.get(name), now[name])
    yield _same("dvc.lock", record.dvc_lock_sha256, dvc_lock_sha256())
    packages = was.get("packages")
    for name, version in (packages if isinstance(packages, dict) else {}).items():
        yield _same(f"package {name}", version, now["packages"].get(name))


def present_data(settings: Settings, record: Record) -> Iterator[Finding]:
    """Read the same input from the file that is published now, and compare."""
    what = "data"
    try:
        with open_published(settings) as connection:
            document = document_of(connection)
            if document is None:
                yield Finding("currency", what, Status.UNKNOWN, "the published file has no record of itself")
            elif record.identity.protocol_id is None:
                for one in record.inputs:
                    version = document.states.get(one.asset.replace("/", "."))
                    yield _same(f"data of {one.asset}", one.data_version, version)
            else:
                outcome = record.config.get("outcome")
                extract = read_extract(
                    connection, settings, document, record.identity.protocol_id, str(outcome) if outcome else None
                )
                yield _extracts(record, extract)
    except WarehouseUnavailableError as error:
        yield Finding("currency", what, Status.UNKNOWN, str(error))
    except AnalysisError as error:
        yield Finding("currency", what, Status.CHANGED, str(error))


def _extracts(record: Record, extract: Extract) -> Finding:
    """What differs between the input as it was and as it would be."""
    if extract.sha256 == record.extract_sha256:
        return Finding("currency", "data", Status.SAME)
    differing = []
    if sha256_of(extract.protocol.model_dump(mode="json")) != record.protocol_sha256:
        differing.append("the protocol is another")
    if sha256_of([phase.model_dump(mode="json") for phase in extract.phases]) != record.phases_sha256:
        differing.append("its phases are others")
    rows = next(one.rows for one in record.inputs if one.asset == EVENTS_ASSET)
    if more := len(extract.times_us) - rows:
        differing.append(f"{abs(more):,} events {'more' if more > 0 else 'fewer'} than the {rows:,} there were")
    return Finding("currency", "data", Status.CHANGED, "; ".join(differing) or f"as many events ({rows:,}), but others")


def _modules(recorded: dict[str, str], now: dict[str, str]) -> Finding:
    changed = sorted(path for path in recorded.keys() | now.keys() if recorded.get(path) != now.get(path))
    status = Status.CHANGED if changed else Status.SAME
    return Finding("currency", "modules of the analyses", status, ", ".join(changed))


def _same(what: str, recorded: object, now: object) -> Finding:
    """A recorded value against the present one; None where nothing was there or it was not known."""
    if recorded is None and now is None:
        return Finding("currency", what, Status.NOT_RECORDED, "neither then nor now")
    if recorded == now:
        return Finding("currency", what, Status.SAME)
    told = [short(str(value)) if value is not None else "nothing" for value in (recorded, now)]
    return Finding("currency", what, Status.CHANGED, f"was {told[0]}, is {told[1]}")


def _known(commit: str) -> str | None:
    return None if commit == UNKNOWN else commit


def _changes_of(code: Code) -> str | None:
    return _changes(code.dirty, code.diff_sha256)


def _changes(dirty: bool | None, diff_sha256: str) -> str | None:  # noqa: FBT001 - as it is recorded
    """What a working tree differed by, in a word that can be compared."""
    return None if dirty is None else f"some, {diff_sha256[:12]}" if dirty else "none"
