"""Doing an analysis again on its extract, with the parameters of its record.

Here belongs getting the input and carrying it out. How close the results have to be is `closeness.py`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from americano_pipelines.analysis.catalog import KINDS
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.observations import observe
from americano_pipelines.analysis.plan import parse
from americano_pipelines.analysis.training.data import TrainingData
from americano_pipelines.analysis.training.model import train
from americano_pipelines.analysis.training.parameters import NAME as TRAINING
from americano_pipelines.analysis.training.parameters import TrainingParameters
from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import extracts_dir, read
from americano_pipelines.tracking.environment import capture_environment
from americano_pipelines.tracking.models import MODEL
from americano_pipelines.tracking.record import Record, canonical
from americano_pipelines.tracking.recording import EXTRACT
from americano_pipelines.tracking.verify.closeness import Closeness, differences
from americano_pipelines.tracking.verify.currency import EVENTS_ASSET
from americano_pipelines.tracking.verify.find import Subject
from americano_pipelines.tracking.verify.findings import Finding, Status
from americano_pipelines.tracking.verify.integrity import purged

_OF_TRAINING = frozenset({MODEL, "versions"})


def rerun(settings: Settings, subject: Subject) -> Iterator[Finding]:
    """Do the analysis again and compare what it gives.

    Raises:
        TrackingError: MLflow has the extract, and does not give it.
    """
    record = subject.record
    what = f"{record.identity.analysis} on its extract"
    text = _extract(settings, subject)
    if text is None:
        why = (
            "was purged" if purged(settings, record) else "is not left as it was, neither in the archive nor in MLflow"
        )
        yield Finding("rerun", what, Status.NOT_REPEATED, f"the extract {why}")
        return
    try:
        again, outcomes = _trained(record, text) if record.identity.analysis == TRAINING else _analysed(record, text)
    except (AnalysisError, ValidationError) as error:
        yield Finding("rerun", what, Status.NOT_REPEATED, str(error))
        return
    # What a registry calls a model, and which versions trained it, is not what was learned.
    recorded = {name: value for name, value in record.results.items() if name not in _OF_TRAINING}
    packages = record.environment.get("packages")
    numpy = packages.get("numpy") if isinstance(packages, dict) else None
    closeness = Closeness.of(
        outcomes, same_numpy=numpy is not None and numpy == capture_environment().packages["numpy"]
    )
    found = differences(recorded, again, closeness)
    yield from [Finding("rerun", path, Status.DIFFERS, why) for path, why in found] or [
        Finding("rerun", what, Status.REPEATED, ", ".join(recorded))
    ]


def _analysed(record: Record, text: bytes) -> tuple[dict[str, Any], Sequence[float | None]]:
    """Results of the analysis of a protocol, as JSON, and the outcomes that went in."""
    if record.identity.analysis not in KINDS:
        raise AnalysisError(f"there is no analysis called {record.identity.analysis!r} any more")
    kind, extract = KINDS[record.identity.analysis], Extract.parse(text)
    instant = next(one.instant for one in record.inputs if one.asset == EVENTS_ASSET)
    as_of_us = round(datetime.fromisoformat(instant).timestamp() * 1_000_000)
    # For the pictures only, which are not compared.
    standing = "planned" if record.standing and record.standing.planned else "exploratory"
    analysis = kind.analyse(observe(extract), parse(kind, record.config), as_of_us, standing)
    return json.loads(canonical(analysis.results)), extract.values


def _trained(record: Record, text: bytes) -> tuple[dict[str, Any], Sequence[float | None]]:
    """Results of the training demo, as JSON, and the scores that went in."""
    data = TrainingData.parse(text)
    trained = train(data, TrainingParameters.model_validate(record.config), record.inputs[0].snapshot_id)
    results = json.loads(canonical(trained.results))
    return {name: value for name, value in results.items() if name not in _OF_TRAINING}, data.scores


def _extract(settings: Settings, subject: Subject) -> bytes | None:
    """The extract as it was, wherever it is left."""
    sha256 = subject.record.extract_sha256
    try:
        return read(extracts_dir(settings), sha256)
    except (FileNotFoundError, TamperedError):
        run = subject.run
        text = run.content(EXTRACT) if run else None
        return text if text is not None and hashlib.sha256(text).hexdigest() == sha256 else None
