"""Reading the extract of a protocol out of a published file.

Here belongs finding the protocol, its phases and its learner's events there. What an extract is, is `extract.py`; of
the training demo's data it is in `training/data.py`.
"""

import json

import duckdb

from americano_pipelines import sql
from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.warehouse.document import Document
from americano_pipelines.warehouse.models import role_value

_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN"),
)
_ROLES = ("id", "time", "learner", "phase", "protocol")


def read_extract(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    document: Document,
    protocol_id: str,
    outcome: str | None,
) -> Extract:
    """Read the extract of a protocol.

    Args:
        connection: the published file, open for reading.
        settings: the data folder, whose key makes the pseudonym.
        document: the file's record.
        protocol_id: the protocol.
        outcome: the events column that is the outcome; None for the protocol's primary outcome.

    Raises:
        AnalysisError: there is no such protocol, it has no phases, or the outcome is not a number in the events.
    """
    for name in ("protocols", "phases"):
        if name not in document.models:
            reason = document.skipped.get(f"research.{name}", "it was not built")
            raise AnalysisError(f"research.{name} is missing in snapshot {document.snapshot_id}: {reason}")
    row = connection.execute(sql.load("analysis", "protocol"), [protocol_id]).fetchone()
    if row is None:
        raise AnalysisError(f"protocol {protocol_id!r} is not in snapshot {document.snapshot_id}")
    _, learner, name, design, primary, starts, ends, plan, deviations = row
    phases = connection.execute(sql.load("analysis", "phases"), [protocol_id]).fetchall()
    if not phases or learner is None:
        raise AnalysisError(f"protocol {protocol_id!r} has no {'phases' if learner else 'learner'}")
    outcome = outcome or primary
    if outcome is None:
        raise AnalysisError(f"protocol {protocol_id!r} states no primary outcome: name one in the configuration")
    events = _events(connection, document, outcome, protocol_id, str(learner))
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
        ),
        phases=[
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
            for phase_id, label, kind, start, end, days, parameters, seed in phases
        ],
        times_us=[time for time, _, _ in events],
        values=[value for _, value, _ in events],
        labels=[label for _, _, label in events],
    )


def events_statement(document: Document, outcome: str) -> str:
    """The statement that reads a learner's events out of a published file.

    Args:
        document: the file's record.
        outcome: the events column that is the outcome.

    Raises:
        AnalysisError: it has no events with a learner, or the outcome is not a number in them.
    """
    built = document.tables.get(EVENTS.name)
    if built is None or "learner" not in built.roles:
        raise AnalysisError(f"snapshot {document.snapshot_id} has no {EVENTS.name} with a learner")
    numbers = sorted(column.name for column in built.columns if column.type.startswith(_NUMBERS))
    if outcome not in numbers:
        raise AnalysisError(
            f"{outcome!r} is no outcome: {EVENTS.name} has no column of that name that holds numbers "
            f"(it has {', '.join(numbers)})"
        )
    table = SourceTable(EVENTS, built.found_as, tuple(built.columns), built.roles)
    roles = {role: role_value(table, role) if role in built.roles else "NULL" for role in _ROLES}
    return sql.render(sql.load("analysis", "events"), outcome=sql.quote(outcome), **roles)


def _events(
    connection: duckdb.DuckDBPyConnection, document: Document, outcome: str, protocol_id: str, learner: str
) -> list[tuple[int, float | None, str | None]]:
    statement = events_statement(document, outcome)
    bounds = connection.execute(sql.load("analysis", "bounds"), [protocol_id]).fetchone() or (0, 0)
    return connection.execute(statement, [learner, *bounds, protocol_id]).fetchall()
