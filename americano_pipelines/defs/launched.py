"""What came of analyses that were launched from a shell.

Here belongs reading it from a run's events. Starting the runs is `launch_analyses.py`; how it is shown is the command
line's business.
"""

from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg

from americano_pipelines.defs.ending import how_it_ended, step_failure
from americano_pipelines.defs.requests import Refused


@dataclass(frozen=True)
class Launched:
    """One analysis that was launched, or refused.

    Attributes:
        protocol_id: the protocol.
        protocol: its name, or its id where it failed before that was known.
        analysis: its kind; of a request that was refused, what the app calls it.
        success: whether it is recorded.
        sentence: what came out, or why it failed.
        dagster_run_id: the Dagster run, None for a request that was refused before there was one.
        verdict: the verdict's state, None for an analysis that judges nothing.
        standing: `planned` or `exploratory`.
        analysis_run_id: the app's row, None when there is none.
        mlflow_run_id: its MLflow run, None where it failed.
        sha256: hash of its record, likewise.
    """

    protocol_id: str
    protocol: str
    analysis: str
    success: bool
    sentence: str
    dagster_run_id: str | None
    verdict: str | None = None
    standing: str | None = None
    analysis_run_id: str | None = None
    mlflow_run_id: str | None = None
    sha256: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def launched(
    instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, protocol_id: str, key: dg.AssetKey
) -> Launched:
    """What came of an analysis, by the events of its run."""
    kind = key.path[-1]
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key == key:
            found = {
                name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
            }
            row = str(found["AnalysisRun id"])
            return Launched(
                protocol_id=protocol_id,
                protocol=str(found["protocol"]),
                analysis=kind,
                success=True,
                sentence=str(found["sentence"]),
                verdict=str(found["state"]) if "state" in found else None,
                standing=str(found["standing"]),
                analysis_run_id=None if row == "none" else row,
                mlflow_run_id=str(found["MLflow run id"]),
                sha256=str(found["provenance sha256"]),
                dagster_run_id=result.run_id,
            )
    failures = [event for event in result.all_events if event.is_step_failure and event.step_key == "__".join(key.path)]
    told = step_failure(failures[0])[0] if failures else how_it_ended(instance, result.dagster_run)
    return Launched(protocol_id, protocol_id, kind, success=False, sentence=told, dagster_run_id=result.run_id)


def refused(one: Refused) -> Launched:
    """A request that was refused, as an analysis that failed."""
    return Launched(
        protocol_id=one.request.protocol_id,
        protocol=one.request.protocol_id,
        analysis=one.request.analysis_type,
        success=False,
        sentence=f"row {one.request.analysis_run_id!r} is refused: {one.reason}",
        dagster_run_id=None,
        analysis_run_id=one.request.analysis_run_id,
    )


def without_partition(protocol_id: str, key: dg.AssetKey, reason: str) -> Launched:
    """An analysis of a protocol that Dagster can have no partition for."""
    return Launched(
        protocol_id, protocol_id or "(empty id)", key.path[-1], success=False, sentence=reason, dagster_run_id=None
    )
