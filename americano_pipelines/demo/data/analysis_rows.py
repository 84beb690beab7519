"""Generate the three small tables: protocols, their phases, and the requested analyses."""

import json
from datetime import date, datetime, time, timedelta

from americano_pipelines.demo.data.demo_experiments import ALPHA, OUTCOME, Experiment, experiments
from americano_pipelines.demo.data.events import learner_ids
from americano_pipelines.demo.data.protocols import PROTOCOLS, DemoProtocol
from americano_pipelines.demo.data.tables import Table, Value, make_ids

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
    names = [experiment.name for experiment in experiments()]
    return dict(zip(names, make_ids("protocols", len(names)), strict=True))


def experiment_protocols() -> Table:
    """One row a protocol."""
    rows = [_protocol_row(experiment) for experiment in experiments()]
    return Table("experiment_protocols", tuple(rows[0]), [tuple(row.values()) for row in rows])


def phase_assignments() -> Table:
    """The phases of each protocol, with the randomization they came from."""
    places = [(experiment, place) for experiment in experiments() for place in range(len(experiment.phases))]
    rows = [
        _phase_row(phase_id, experiment, place)
        for phase_id, (experiment, place) in zip(make_ids("phases", len(places)), places, strict=True)
    ]
    return Table("phase_assignments", tuple(rows[0]), [tuple(row.values()) for row in rows])


def analysis_runs() -> Table:
    """Requests for analyses that were not run yet."""
    by_name = {protocol.name: protocol for protocol in PROTOCOLS}
    rows = [
        _run_row(run_id, by_name[name], kind)
        for run_id, (name, kind) in zip(make_ids("runs", len(_REQUESTS)), _REQUESTS, strict=True)
    ]
    return Table("analysis_runs", tuple(rows[0]), [tuple(row.values()) for row in rows])


def _protocol_row(experiment: Experiment) -> dict[str, Value]:
    planned = _midnight(experiment.start, _PLANNED_BEFORE)
    return {
        "id": protocol_ids()[experiment.name],
        "userId": learner_ids()[experiment.learner],
        "protocolName": experiment.title,
        "hypothesis": experiment.hypothesis,
        "startDate": _midnight(experiment.start),
        "endDate": _midnight(experiment.phases[-1].end),
        "designType": experiment.design,
        "primaryOutcome": OUTCOME,
        "sampleSizeTarget": experiment.days,
        "analysisPlan": experiment.plan,
        "deviations": "[]",
        "screened": 1,
        "eligible": 1,
        "enrolled": 1,
        "completed": None if experiment.open_ended else 1,
        "createdAt": planned,
        "updatedAt": planned,
    }


def _phase_row(phase_id: str, experiment: Experiment, place: int) -> dict[str, Value]:
    planned = _midnight(experiment.start, _PLANNED_BEFORE)
    phase, is_last = experiment.phases[place], place == len(experiment.phases) - 1
    return {
        "id": phase_id,
        "protocolId": protocol_ids()[experiment.name],
        "phaseLabel": phase.label,
        "phaseType": phase.kind,
        "startDate": _midnight(phase.first),
        "endDate": None if experiment.open_ended and is_last else _midnight(phase.end),
        "plannedDuration": phase.days,
        "randomizationSeed": experiment.seed,
        "interventionParams": json.dumps(experiment.parameters[place], ensure_ascii=False),
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
