"""Repeat an analysis on its extract with its recorded parameters, and compare within tolerances."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any

from americano_pipelines.analysis.repeat import Reply, Request, repeat
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import TamperedError
from americano_pipelines.mlflow_store.registered_models import MODEL
from americano_pipelines.provenance.archive import get
from americano_pipelines.provenance.capture import capture_code, capture_environment
from americano_pipelines.provenance.module_bundle import bundle_of, kept_modules, present_modules, repeat_with
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.recorder import EXTRACT
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.integrity import purged
from americano_pipelines.provenance.verify.staleness import EVENTS_ASSET
from americano_pipelines.provenance.verify.target import Target
from americano_pipelines.settings import DataFolder

RELATIVE = 1e-9
# A number near 0 may be what two numbers of the outcome's size leave when they cancel out; sums of thousands of days
# are off by some 1e-13 of that size.
ABSOLUTE_OF_SCALE = 1e-12
_NEW = "was not there"
# What follows from draws; the observed statistic, the schedule and the verdict's state do not, or must not.
_SAMPLED_RESULTS = re.compile(
    r"(test\.(p(_\w+)?|as_extreme|smallest_p|empty|interval|edges|counts)|missing days\.(p|worst_case_(p|bound))"
    r"|verdict\.(why|sentence))(\.|\[|$)"
)
# Two runs of a sampler differ by more than this many standard errors once in 16,000 comparisons.
_STANDARD_ERRORS = 4
# Standard error of the 2.5 % quantile of a normal distribution in units of sd / sqrt(draws):
# sqrt(.025 * .975) / density(1.96).
_QUANTILE_ERROR_FACTOR = 2.67


@dataclass(frozen=True)
class Tolerance:
    """Tolerances for comparing numbers.

    Attributes:
        absolute: how far numbers near 0 may be apart.
        same_numpy: whether draws have to be the same, for numpy is.
    """

    absolute: float
    same_numpy: bool


def differences(recorded: dict[str, Any], repeated: dict[str, Any], tolerance: Tolerance) -> list[tuple[str, str]]:
    """What differs by more than it may: its path in the results, and how.

    Args:
        recorded: results of the record, as JSON.
        repeated: results of now, as JSON.
        tolerance: the tolerances for numbers.
    """
    listed = list(_compare_values("", recorded, repeated, tolerance.absolute))
    if "posterior" in recorded and "posterior" in repeated:
        listed = [item for item in listed if not item[0].startswith("posterior.")]
        return listed + list(_posterior(recorded["posterior"], repeated["posterior"]))
    test, again = recorded.get("test"), repeated.get("test")
    estimated = isinstance(test, dict) and test.get("p_interval") is not None
    if estimated and not tolerance.same_numpy and isinstance(test, dict) and isinstance(again, dict):
        (low, high), p = test["p_interval"], again.get("p")
        listed = [item for item in listed if not _SAMPLED_RESULTS.match(item[0])]
        if p is None or not low <= p <= high:
            listed.append(("test.p", f"{p} is outside the recorded 99 % interval, {low} to {high}"))
    return listed


def _compare_values(path: str, recorded: Any, repeated: Any, absolute: float) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    if isinstance(recorded, dict) and isinstance(repeated, dict):
        for name in recorded.keys() | repeated.keys():
            inside = f"{path}.{name}" if path else name
            if name not in recorded or name not in repeated:
                yield inside, _NEW if name not in recorded else "is not there any more"
            else:
                yield from _compare_values(inside, recorded[name], repeated[name], absolute)
    elif isinstance(recorded, list) and isinstance(repeated, list) and len(recorded) == len(repeated):
        for index, (item, other) in enumerate(zip_longest(recorded, repeated)):
            yield from _compare_values(f"{path}[{index}]", item, other, absolute)
    elif _numbers(recorded, repeated) and float in {type(recorded), type(repeated)}:
        if not math.isclose(recorded, repeated, rel_tol=RELATIVE, abs_tol=absolute):
            yield path, f"was {recorded!r}, is {repeated!r}"
    elif type(recorded) is not type(repeated) or recorded != repeated:
        yield path, f"was {_describe(recorded)}, is {_describe(repeated)}"


def _numbers(*values: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether all are numbers, to which Python's truth values belong and JSON's do not."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _describe(value: Any) -> str:  # noqa: ANN401 - JSON
    return f"a list of {len(value)}" if isinstance(value, list) else repr(value)


def _posterior(recorded: dict[str, Any], repeated: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Means and intervals of two samples of a posterior, by the standard errors of both."""
    for index, (was, new) in enumerate(zip_longest(recorded["changes"], repeated["changes"])):
        path = f"posterior.changes[{index}]"
        if was is None or new is None or (was["label"], was["what"]) != (new["label"], new["what"]):
            yield path, "belongs to a different change"
            continue
        mean_error, tail_error = (
            math.hypot(*(change["sd"] / math.sqrt(change[draws]) for change in (was, new)))
            for draws in ("ess_bulk", "ess_tail")
        )
        pairs = [("mean", was["mean"], new["mean"], mean_error)]
        pairs += [
            (f"interval[{end}]", was["interval"][end], new["interval"][end], _QUANTILE_ERROR_FACTOR * tail_error)
            for end in (0, 1)
        ]
        for name, before, after, error in pairs:
            if abs(before - after) > _STANDARD_ERRORS * error:
                yield f"{path}.{name}", f"was {before}, is {after}, and the samplers' error is {error:.3g}"


_IGNORED_MODEL_KEYS = frozenset({MODEL, "versions"})
# Differences of today's code that are listed one by one.
_SHOWN = 5


def rerun(paths: DataFolder, subject: Target) -> Iterator[Finding]:
    """Do the analysis again, with the recorded modules, and compare what it gives.

    What the current code gives is reported separately.

    Raises:
        TrackingError: MLflow has the extract, and does not give it.
    """
    record = subject.record
    what = f"{record.identity.analysis} on its extract"
    text = _extract(paths, subject)
    if text is None:
        why = "was purged" if purged(paths, record) else "has no intact copy in the archive or in MLflow"
        yield Finding("rerun", what, Status.NOT_REPEATED, f"the extract {why}")
        return
    request = _request(record, text)
    present = bundle_of(present_modules())
    if record.module_bundle_sha256 is None:
        changed = capture_code().modules != record.code.modules
        yield from _compared(record, what, repeat(request), lenient=changed)
        return
    if record.module_bundle_sha256 == sha256_hex(present):
        yield from _compared(record, what, repeat(request))
        return
    try:
        modules = kept_modules(paths, record.module_bundle_sha256)
    except (FileNotFoundError, TamperedError):
        yield Finding("rerun", what, Status.NOT_REPEATED, "the modules that it ran with are gone or were changed")
    else:
        yield from _compared(record, what, repeat_with(paths, modules, request))
    yield _current_code_finding(record, repeat(request))


def _request(record: Record, text: bytes) -> Request:
    events = next((source for source in record.inputs if source.asset == EVENTS_ASSET), record.inputs[0])
    return Request(
        analysis=record.identity.analysis,
        config=dict(record.config),
        extract=text.decode(),
        snapshot_id=events.snapshot_id,
        as_of_us=round(datetime.fromisoformat(events.instant).timestamp() * 1_000_000),
        compliance=record.standing.label if record.standing else None,
    )


def _compared(record: Record, what: str, reply: Reply, *, lenient: bool = False) -> Iterator[Finding]:
    """Findings of a repeated analysis.

    Args:
        record: what was recorded.
        what: the analysis, in words.
        reply: what came out again.
        lenient: the recorded modules were not kept, and the current ones differ: new fields and words do not count.
    """
    if reply.error is not None:
        yield Finding("rerun", what, Status.NOT_REPEATED, reply.error)
        return
    mismatches = _mismatches(record, reply, lenient=lenient)
    detail = ", ".join(name for name in record.results if name not in _IGNORED_MODEL_KEYS)
    if lenient:
        detail += "; by today's modules, because the recorded modules were not kept"
    yield from [Finding("rerun", path, Status.DIFFERS, why) for path, why in mismatches] or [
        Finding("rerun", what, Status.REPEATED, detail)
    ]


def _mismatches(record: Record, reply: Reply, *, lenient: bool = False) -> list[tuple[str, str]]:
    # What a registry calls a model, and which versions trained it, is not what was learned.
    recorded, repeated = (
        {name: value for name, value in results.items() if name not in _IGNORED_MODEL_KEYS}
        for results in (record.results, reply.results)
    )
    packages = record.environment.get("packages")
    numpy = packages.get("numpy") if isinstance(packages, dict) else None
    same_numpy = numpy is not None and numpy == capture_environment().packages["numpy"]
    listed = differences(recorded, repeated, Tolerance(ABSOLUTE_OF_SCALE * reply.scale, same_numpy))
    if lenient:
        return [(path, why) for path, why in listed if why != _NEW and not path.endswith(".sentence")]
    if not listed and same_numpy:
        words = (("sentence", record.sentence, reply.sentence), ("verdict", record.verdict, reply.verdict))
        listed = [(name, f"was {was!r}, is {new!r}") for name, was, new in words if was != new]
    return listed


def _current_code_finding(record: Record, reply: Reply) -> Finding:
    """What today's code says of the same input, which is no fault of the record."""
    what = "today's code on the same extract"
    version = f"version {reply.version} of the analysis, recorded was {record.identity.analysis_version}"
    if reply.error is not None:
        return Finding("rerun", what, Status.CHANGED, reply.error)
    if not (listed := _mismatches(record, reply)):
        return Finding("rerun", what, Status.SAME, version)
    differing = ", ".join(f"{path} {why}" for path, why in listed[:_SHOWN])
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    sentence_note = f"; it says: {reply.sentence}" if reply.sentence != record.sentence else ""
    return Finding("rerun", what, Status.CHANGED, f"{version}: {differing}{more}{sentence_note}")


def _extract(paths: DataFolder, subject: Target) -> bytes | None:
    """The extract as it was, wherever it is left."""
    sha256 = subject.record.extract_sha256
    try:
        return get(paths.extracts, sha256)
    except (FileNotFoundError, TamperedError):
        run = subject.run
        text = run.content(EXTRACT) if run else None
        return text if text is not None and sha256_hex(text) == sha256 else None
