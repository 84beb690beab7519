"""Doing an analysis again on its extract, with the parameters of its record.

Here belongs getting the input and carrying it out. How close the results have to be is `closeness.py`.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime

from americano_pipelines.analysis.catalog import KINDS
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.observations import observe
from americano_pipelines.analysis.plan import parse
from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import extracts_dir, read
from americano_pipelines.tracking.environment import capture_environment
from americano_pipelines.tracking.record import Record, canonical
from americano_pipelines.tracking.recording import EXTRACT
from americano_pipelines.tracking.verify.closeness import Closeness, differences
from americano_pipelines.tracking.verify.currency import EVENTS_ASSET
from americano_pipelines.tracking.verify.find import Subject
from americano_pipelines.tracking.verify.findings import Finding, Status
from americano_pipelines.tracking.verify.integrity import purged


def rerun(settings: Settings, subject: Subject) -> Iterator[Finding]:
    """Do the analysis again and compare what it gives.

    Raises:
        TrackingError: MLflow has the extract, and does not give it.
    """
    record = subject.record
    what = f"{record.identity.analysis} on its extract"
    if record.identity.analysis not in KINDS:
        why = f"{record.identity.analysis!r} is no analysis of a protocol, and only those are repeated"
        yield Finding("rerun", what, Status.NOT_REPEATED, why)
        return
    text = _extract(settings, subject)
    if text is None:
        why = (
            "was purged" if purged(settings, record) else "is not left as it was, neither in the archive nor in MLflow"
        )
        yield Finding("rerun", what, Status.NOT_REPEATED, f"the extract {why}")
        return
    try:
        found = _repeat(record, Extract.parse(text))
    except AnalysisError as error:
        yield Finding("rerun", what, Status.NOT_REPEATED, str(error))
        return
    yield from found or [Finding("rerun", what, Status.REPEATED, ", ".join(record.results))]


def _repeat(record: Record, extract: Extract) -> list[Finding]:
    """What differs; nothing when it came out again."""
    kind = KINDS[record.identity.analysis]
    instant = next(one.instant for one in record.inputs if one.asset == EVENTS_ASSET)
    as_of_us = round(datetime.fromisoformat(instant).timestamp() * 1_000_000)
    again = kind.analyse(observe(extract), parse(kind, record.config), as_of_us)
    results = json.loads(canonical(again.results))
    packages = record.environment.get("packages")
    numpy = packages.get("numpy") if isinstance(packages, dict) else None
    closeness = Closeness.of(
        extract.values,
        same_numpy=numpy is not None and numpy == capture_environment().packages["numpy"],
    )
    found = differences(record.results, results, closeness)
    return [Finding("rerun", path, Status.DIFFERS, why) for path, why in found]


def _extract(settings: Settings, subject: Subject) -> bytes | None:
    """The extract as it was, wherever it is left."""
    sha256 = subject.record.extract_sha256
    try:
        return read(extracts_dir(settings), sha256)
    except (FileNotFoundError, TamperedError):
        run = subject.run
        if run is None or EXTRACT not in run.files():
            return None
        text = run.content(EXTRACT)
        return text if hashlib.sha256(text).hexdigest() == sha256 else None
