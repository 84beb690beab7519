"""Generate the three small tables: protocols, their phases, and the requested analyses."""

from americano_pipelines.demo.data.design import PHASES
from americano_pipelines.demo.data.design import Phase
from americano_pipelines.demo.data.design import phases
from americano_pipelines.demo.data.events import learner_ids
from americano_pipelines.demo.data.protocols import DemoProtocol
from americano_pipelines.demo.data.protocols import PROTOCOLS
from americano_pipelines.demo.data.tables import Table
from americano_pipelines.demo.data.tables import Value
from americano_pipelines.demo.data.tables import make_ids
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
import json


OUTCOME = "sessionPerformanceScore"
ALPHA = 0.05
_PLANNED_BEFORE = timedelta(days=7)
_REQUESTED = datetime(2026, 8, 31, 9, 0)  # noqa: DTZ001 - the source holds UTC without saying so
_REQUESTS = (
    ("spaced_retrieval", "ABAB_RANDOMIZATION"),
    ("phone_on_the_desk", "ABAB_RANDOMIZATION"),
    ("background_music", "ABAB_RANDOMIZATION"),
    ("morning_warm_up", "CHANGE_POINT_DETECTION"),
    ("interleaved_practice", "CHANGE_POINT_DETECTION"),  # not BAYESIAN_ITS, which needs an extra
)


def protocol_ids() -> dict[str, str]:
    """Id of each protocol, by its short name."""
    names = [protocol.name for protocol in PROTOCOLS]
    return dict(zip(names, make_ids("protocols", len(names)), strict=True))


def experiment_protocols() -> Table:
    """One row a protocol."""
    rows = [_protocol_row(protocol) for protocol in PROTOCOLS]
    return Table("experiment_protocols", tuple(rows[0]), [tuple(row.values()) for row in rows])


def phase_assignments() -> Table:
    """Four rows a protocol, with the randomization they came from."""
    ids = iter(make_ids("phases", PHASES * len(PROTOCOLS)))
    rows = [_phase_row(next(ids), protocol, phase) for protocol in PROTOCOLS for phase in phases(protocol)]
    return Table("phase_assignments", tuple(rows[0]), [tuple(row.values()) for row in rows])


def analysis_runs() -> Table:
    """Requests for analyses that were not run yet."""
    by_name = {protocol.name: protocol for protocol in PROTOCOLS}
    rows = [
        _run_row(run_id, by_name[name], kind)
        for run_id, (name, kind) in zip(make_ids("runs", len(_REQUESTS)), _REQUESTS, strict=True)
    ]
    return Table("analysis_runs", tuple(rows[0]), [tuple(row.values()) for row in rows])


def _protocol_row(protocol: DemoProtocol) -> dict[str, Value]:
    planned = _midnight(protocol.start, _PLANNED_BEFORE)
    return {
        "id": protocol_ids()[protocol.name],
        "userId": learner_ids()[protocol.learner],
        "protocolName": protocol.title,
        "hypothesis": protocol.hypothesis,
        "startDate": _midnight(protocol.start),
        "endDate": _midnight(phases(protocol)[-1].end),
        "designType": "ABAB",
        "primaryOutcome": OUTCOME,
        "sampleSizeTarget": protocol.total_days,
        "analysisPlan": (
            f"Randomization test on daily means of {OUTCOME}, one-sided ({protocol.direction}), alpha .05;"
            f" {'more' if protocol.improvement == 'increase' else 'less'} is better. Statistic:"
            " mean of the treatment phase means minus mean of the baseline phase means. Reference set: all splits of"
            f" {protocol.total_days} days into four phases of {protocol.min_days} to {protocol.max_days} days."
        ),
        "deviations": "[]",
        "screened": 1,
        "eligible": 1,
        "enrolled": 1,
        "completed": None if protocol.open_ended else 1,
        "createdAt": planned,
        "updatedAt": planned,
    }


def _phase_row(phase_id: str, protocol: DemoProtocol, phase: Phase) -> dict[str, Value]:
    planned = _midnight(protocol.start, _PLANNED_BEFORE)
    is_last = phase == phases(protocol)[-1]
    parameters = {
        "randomization": {"minDays": protocol.min_days, "maxDays": protocol.max_days},
        "analysis": {
            "type": "ABAB_RANDOMIZATION",
            "direction": protocol.direction,
            "improvement": protocol.improvement,
            "alpha": ALPHA,
            # The experiments ended before the first sync, so none of their tests is planned.
            **({"group": protocol.group, "include": "declared"} if protocol.group else {}),
        },
        "seed": protocol.seed,
        "instruction": protocol.intervention if phase.treated else None,
    }
    return {
        "id": phase_id,
        "protocolId": protocol_ids()[protocol.name],
        "phaseLabel": phase.label,
        "phaseType": phase.kind,
        "startDate": _midnight(phase.first),
        "endDate": None if protocol.open_ended and is_last else _midnight(phase.end),
        "plannedDuration": phase.days,
        "randomizationSeed": protocol.seed,
        "interventionParams": json.dumps(parameters, ensure_ascii=False),
        "createdAt": planned,
        "updatedAt": planned,
    }


def _run_row(run_id: str, protocol: DemoProtocol, kind: str) -> dict[str, Value]:
    parameters: dict[str, str | float] = {"outcome": OUTCOME}
    if kind == "ABAB_RANDOMIZATION":
        parameters |= {"direction": protocol.direction, "alpha": ALPHA}
    return {
        "id": run_id,
        "protocolId": protocol_ids()[protocol.name],
        "runName": f"{protocol.title}: {kind.lower().replace('_', ' ')}",
        "analysisType": kind,
        "codeCommitHash": "unknown",
        "dataVersionHash": "unknown",
        "inputParams": json.dumps(parameters),
        "artifactPaths": "{}",
        "resultsSummary": "{}",
        "startedAt": _REQUESTED.isoformat(),
        "status": "PENDING",
    }


def _midnight(day: date, before: timedelta = timedelta()) -> str:
    return (datetime.combine(day, time()) - before).isoformat()
