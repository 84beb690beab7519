"""Repeat an analysis on a kept extract; as a process of its own, with the modules that are kept with a record."""

# `python -m americano_pipelines.analysis.repeat REQUEST REPLY` reads a request and writes a reply, both JSON. These two
# documents are all that another release knows of the modules beside them: fields may be added, and none may change.

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from americano_pipelines.analysis.preregistration import parse
from americano_pipelines.analysis.registry import KINDS, Basis
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.errors import AnalysisError


class Request(FrozenModel):
    """What to repeat.

    Attributes:
        analysis: name of its kind.
        config: its parameters, as recorded.
        extract: canonical text of its extract.
        snapshot_id: the snapshot that the extract is from.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
        compliance: `planned`, `declared` or `exploratory`; None for an analysis that no protocol plans.
    """

    analysis: str
    config: dict[str, Any]
    extract: str
    snapshot_id: str
    as_of_us: int
    compliance: str | None


class Reply(FrozenModel):
    """What came out.

    Attributes:
        version: version of the analysis.
        results: the whole result, as JSON.
        sentence: the result, for people.
        verdict: the verdict's state.
        scale: the largest absolute outcome, 1 at least.
        error: why it cannot be repeated, None if it was; then all others are empty.
    """

    version: str = ""
    results: dict[str, Any] = Field(default_factory=dict)
    sentence: str = ""
    verdict: str | None = None
    scale: float = 1.0
    error: str | None = None


def repeat(request: Request) -> Reply:
    """Repeat an analysis; what makes that impossible is part of the reply."""
    kind = KINDS.get(request.analysis)
    if kind is None:
        return Reply(error=f"there is no analysis called {request.analysis!r}")
    try:
        extract = kind.parse_extract(request.extract.encode())
        basis = Basis(request.snapshot_id, request.as_of_us, request.compliance)
        analysis = kind.analyse(extract, parse(kind, request.config), basis)
    except (AnalysisError, ValidationError) as error:
        return Reply(error=str(error))
    return Reply(
        version=analysis.version,
        results=json.loads(canonical_json(analysis.recorded_results)),
        sentence=analysis.sentence,
        verdict=analysis.verdict,
        scale=outcome_scale(extract.outcomes),
    )


def outcome_scale(outcomes: Sequence[float | None]) -> float:
    """The largest absolute outcome that is finite, 1 at least."""
    finite = [abs(value) for value in outcomes if value is not None and math.isfinite(value)]
    return max([1.0, *finite])


def main() -> None:
    """Answer the request that the first argument names in the file that the second one names."""
    request, reply = map(Path, sys.argv[1:3])
    answer = repeat(Request.model_validate_json(request.read_bytes()))
    reply.write_text(answer.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
