"""Read the extract of a protocol from a published file."""

import json
from collections.abc import Sequence

import duckdb

from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.analysis.extract_statements import events_statement, protocol_statement
from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.common import sql
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord


def read_extract(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    document: SnapshotRecord,
    protocol_id: str,
    outcome: str | None,
    *,
    with_events: bool = True,
) -> Extract:
    """Read the extract of a protocol.

    Args:
        connection: the published file, open for reading.
        settings: the data folder, whose key makes the pseudonym.
        document: the file's record.
        protocol_id: the protocol.
        outcome: the events column that is the outcome; None for the protocol's primary outcome.
        with_events: whether the events are read, and not the protocol and its phases alone.

    Raises:
        AnalysisError: there is no such protocol, it has no phases, the outcome is no column of numbers, or the time
            zone is none.
    """
    for name in ("protocols", "phases"):
        if name not in document.models:
            reason = document.skipped.get(f"research.{name}", "it was not built")
            raise AnalysisError(f"research.{name} is missing in snapshot {document.snapshot_id}: {reason}")
    row = connection.execute(protocol_statement(document), [protocol_id]).fetchone()
    if row is None:
        raise AnalysisError(f"protocol {protocol_id!r} is not in snapshot {document.snapshot_id}")
    _, learner, name, design, primary, starts, ends, plan, deviations, improvement, stated_zone = row
    phases = [
        Phase(
            phase_id=phase_id,
            label=label,
            type=kind,
            starts_us=start,
            ends_us=end,
            planned_days=days,
            parameters=json.loads(parameters) if parameters else None,
            seed=seed,
        )
        for phase_id, label, kind, start, end, days, parameters, seed in connection.execute(
            sql.load("analysis", "phases"), [protocol_id]
        ).fetchall()
    ]
    if not phases or learner is None:
        raise AnalysisError(f"protocol {protocol_id!r} has no {'phases' if learner else 'learner'}")
    outcome = outcome or primary
    if outcome is None:
        raise AnalysisError(f"protocol {protocol_id!r} states no primary outcome: name one in the configuration")
    # It loads numpy, which the definitions do not need.
    from americano_pipelines.statistics.day_clock import HOUR_US

    zone, zone_from = _time_zone(settings.americano_time_zone, stated_zone, phases)
    # The view ends an open phase after days of 24 hours, and where clocks change the last one may end an hour later.
    margin_us = HOUR_US if zone and phases[-1].ends_us is None else 0
    statement = events_statement(document, outcome)
    events = _events(connection, statement, protocol_id, str(learner), margin_us) if with_events else []
    return Extract(
        outcome=outcome,
        protocol=Protocol(
            protocol_id=protocol_id,
            learner=pseudonym(settings, str(learner)),
            name=name,
            design=design,
            primary_outcome=primary,
            starts_us=starts,
            ends_us=ends,
            plan=plan,
            deviations=json.loads(deviations) if deviations else None,
            improvement=improvement,
        ),
        phases=phases,
        times_us=[time for time, _, _ in events],
        values=[value for _, value, _ in events],
        labels=[label for _, _, label in events],
        time_zone=zone,
        time_zone_from=zone_from,
    )


def _time_zone(default: str, stated: str | None, phases: Sequence[Phase]) -> tuple[str | None, str | None]:
    """The time zone of a protocol's days and where it is from: the protocol, its phases, the setting; else None."""
    from americano_pipelines.statistics.day_clock import time_zone
    from americano_pipelines.statistics.phase_windows import UTC_ZONE

    recorded = [phase.stated("timeZone") for phase in phases]
    zones = {str(zone) for zone in recorded if zone is not None}
    if stated:
        zone, source = stated, "stated by the protocol"
    elif zones:
        if len(zones) > 1:
            raise AnalysisError(f"the phases record different time zones: {', '.join(sorted(zones))}")
        zone, source = zones.pop(), "recorded with the phases"
    elif default != UTC_ZONE:
        zone, source = default, "the setting AMERICANO_TIME_ZONE"
    else:
        return None, None
    time_zone(zone)
    return zone, source


def _events(
    connection: duckdb.DuckDBPyConnection, statement: str, protocol_id: str, learner: str, margin_us: int
) -> list[tuple[int, float | None, str | None]]:
    first_us, last_us = connection.execute(sql.load("analysis", "bounds"), [protocol_id]).fetchone() or (0, 0)
    return connection.execute(statement, [learner, first_us, last_us + margin_us, protocol_id]).fetchall()
