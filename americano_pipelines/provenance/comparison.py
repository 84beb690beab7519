"""Compare two records: inputs, parameters, code, results. Verification checks their integrity."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from americano_pipelines.provenance.record import Record

Part = Literal["analysis", "inputs", "parameters", "results", "code", "environment"]


@dataclass(frozen=True)
class ComparedValue:
    """A value of both records.

    Attributes:
        part: the part of the records that it is from.
        name: its name; of a result its path.
        values: its value in the first and in the second record; None where a record lacks it.
    """

    part: Part
    name: str
    values: tuple[Any, Any]

    @property
    def same(self) -> bool:
        """Whether both values are the same."""
        return type(self.values[0]) is type(self.values[1]) and bool(self.values[0] == self.values[1])


def compare(first: Record, second: Record) -> list[ComparedValue]:
    """Compare two records part by part; values that only one of them has are included."""
    parts: dict[Part, list[dict[str, Any]]] = {
        "analysis": [_analysis(record) for record in (first, second)],
        "inputs": [_inputs(record) for record in (first, second)],
        "parameters": [dict(record.config) | {"seed used": record.seed} for record in (first, second)],
        "results": [_results(record) for record in (first, second)],
        "code": [_code(record) for record in (first, second)],
        "environment": [dict(_leaves("", record.environment)) for record in (first, second)],
    }
    return [
        ComparedValue(part, name, (left.get(name), right.get(name)))
        for part, (left, right) in parts.items()
        for name in dict.fromkeys((*left, *right))
    ]


def _analysis(record: Record) -> dict[str, Any]:
    identity, compliance = record.identity, record.standing
    return {
        "analysis": identity.analysis,
        "version": identity.analysis_version,
        "protocol": identity.protocol_id,
        **({"group": identity.group} if identity.group is not None else {}),
        "started": identity.started_at,
        "launched by": identity.actor,
        "standing": compliance.label if compliance else None,
        "why not": "; ".join(compliance.reasons) if compliance else None,
        "analyses before": compliance.earlier_runs if compliance else None,
    }


def _inputs(record: Record) -> dict[str, Any]:
    values: dict[str, Any] = {
        "extract": record.extract_sha256,
        "protocol": record.protocol_sha256,
        "phases": record.phases_sha256,
        "snapshot": ", ".join(sorted({source.snapshot_id for source in record.inputs})),
    }
    for source in record.inputs:
        values |= {
            f"{source.asset}: data version": source.data_version,
            f"{source.asset}: as of": source.instant,
            f"{source.asset}: rows": source.rows,
            f"{source.asset}: times": " to ".join(source.time_range) if source.time_range else None,
            **{f"{source.asset}: {reason}": count for reason, count in source.exclusions.items()},
        }
    return values


def _results(record: Record) -> dict[str, Any]:
    numbers = {name: points[-1][1] for name, points in record.logged.metrics.items() if points}
    other_results = {path: value for path, value in _leaves("", record.results) if path not in numbers}
    return {"sentence": record.sentence, "verdict": record.verdict, **numbers, **other_results}


def _code(record: Record) -> dict[str, Any]:
    modules = {f"module {path}": sha256 for path, sha256 in record.code.modules.items()}
    return {
        "commit": record.code.commit,
        "uncommitted changes": record.code.diff_sha256 if record.code.dirty else record.code.dirty,
        "dvc.lock": record.dvc_lock_sha256,
        **modules,
    }


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """Every value inside, by its path; a list of plain values is one value."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(f"{path}[{index}]", item)
    else:
        yield path, value
