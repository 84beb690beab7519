"""Publish small files whose rows say whose they are."""

import json
from pathlib import Path
from typing import Any

from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.warehouse.helpers import synced, write_parquet

LEARNERS = [f"learner-{number}" for number in range(8)]
TENANT_OF = {learner: f"school-{number % 3}" for number, learner in enumerate(LEARNERS)}
HTML = '<img src=x onerror="alert(1)">'
_PHASES = ("BASELINE", "INTERVENTION_A", "WITHDRAWAL", "INTERVENTION_A")


def learner_of(text: str) -> set[str]:
    """The learners whose marks are in a text: every id and name in these files ends with its learner."""
    return {learner for learner in LEARNERS if learner in text}


def tables(events: int = 1_600) -> dict[str, str]:
    """Queries of the four tables. Ids, names and labels name the learner, so that no row is of two."""
    count = len(LEARNERS)
    summary = json.dumps(
        {
            "verdict": "benefit",
            "standing": {"planned": True, "reasons": []},
            "sentence": "It helps LEARNER.",
            "numbers": {"observed": 1.5, "interval_low": 0.5, "interval_high": 2.5, "p": 0.01},
            "provenance_sha256": "",
        }
    )
    return {
        "behavioral_events": f"""
            SELECT
                'event-' || i || '-learner-' || (i % {count}) AS id,
                TIMESTAMP '2025-01-01' + (i // {count}) * INTERVAL '{28 * 1440 * count // events} minutes' AS timestamp,
                'learner-' || (i % {count}) AS "userId",
                '=1+1 {HTML} learner-' || (i % {count}) AS "eventType",
                (i % 7)::DOUBLE AS "sessionPerformanceScore",
                'phase ' || (i % 4) AS "experimentPhase"
            FROM range({events}) AS r(i)""",
        "experiment_protocols": f"""
            SELECT
                'protocol-learner-' || i AS id,
                'learner-' || i AS "userId",
                '{HTML} of learner-' || i AS "protocolName",
                TIMESTAMP '2025-01-01' AS "startDate",
                TIMESTAMP '2025-01-29' AS "endDate",
                'ABAB' AS "designType",
                'sessionPerformanceScore' AS "primaryOutcome",
                'plan of learner-' || i AS "analysisPlan",
                ('["deviation of learner-' || i || '"]')::JSON AS deviations,
                'school-' || (i % 3) AS school
            FROM range({count}) AS r(i)""",
        "phase_assignments": f"""
            SELECT
                'phase-' || n || '-learner-' || i AS id,
                'protocol-learner-' || i AS "protocolId",
                'phase ' || n || ' of learner-' || i AS "phaseLabel",
                (['{"', '".join(_PHASES)}'])[n + 1] AS "phaseType",
                TIMESTAMP '2025-01-01' + n * INTERVAL 7 DAY AS "startDate",
                TIMESTAMP '2025-01-08' + n * INTERVAL 7 DAY AS "endDate",
                7 AS "plannedDuration"
            FROM range({count}) AS r(i), range(4) AS s(n)""",
        "analysis_runs": f"""
            SELECT
                'run-learner-' || i AS id,
                'protocol-learner-' || i AS "protocolId",
                'Run of learner-' || i AS "runName",
                'ABAB_RANDOMIZATION' AS "analysisType",
                '{{"of": "learner-' || i || '"}}' AS "inputParams",
                'COMPLETED' AS status,
                TIMESTAMP '2025-02-01' AS "startedAt",
                TIMESTAMP '2025-02-02' AS "completedAt",
                replace('{summary}', 'LEARNER', 'learner-' || i) AS "resultsSummary"
            FROM range({count}) AS r(i)""",
    }


def publish_example(data_dir: Path, **changed: Any) -> Settings:
    """Publish the four tables in a data folder.

    Args:
        data_dir: the data folder.
        changed: queries of tables that are others than those of `tables`.
    """
    queries = {**tables(), **changed}
    files = {
        f"{name}_parquet": str(write_parquet(data_dir.parent / "files" / f"{name}.parquet", query))
        for name, query in queries.items()
    }
    settings = load_settings(americano_data_dir=data_dir, log_level="WARNING", **files)
    assert synced(settings).path
    return settings
