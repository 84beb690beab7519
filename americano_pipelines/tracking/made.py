"""What an analysis made, whichever it was, as it is handed over to be recorded.

Here belongs its shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from americano_pipelines.tracking.record_parts import Input, StandingPart


@dataclass(frozen=True)
class Made:
    """What an analysis made.

    Attributes:
        analysis: its name.
        version: of the analysis.
        sentence: what was found.
        verdict: the verdict's state, None for an analysis that judges nothing.
        results: all of it.
        numbers: metrics; None where undefined.
        series: metrics that have a value per step.
        files: path among the artifacts to content.
        inputs: what it read.
        extract: the exact input.
        protocol_sha256: hash of the protocol, None when it is of none.
        phases_sha256: hash of its phases, likewise.
        config: the resolved parameters.
        seed: of its random numbers, None when it drew none.
        generator: their generator.
        standing: whether it is the planned analysis.
    """

    analysis: str
    version: str
    sentence: str
    verdict: str | None
    results: dict[str, JsonValue]
    numbers: Mapping[str, float | None]
    series: Mapping[str, list[float | None]]
    files: Mapping[str, bytes]
    inputs: list[Input]
    extract: bytes
    protocol_sha256: str | None
    phases_sha256: str | None
    config: dict[str, JsonValue]
    seed: int | None
    generator: str | None
    standing: StandingPart | None
