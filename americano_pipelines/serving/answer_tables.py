"""Define the tables of the API: statement, columns and what each needs.

Every statement binds the principal's scope as `$scope`; a table whose statement does not is refused at start.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from americano_pipelines.common import sql
from americano_pipelines.warehouse.research_models import MODEL_BY_NAME

_PARAMETER = re.compile(r"\$([a-z_]+)")
SCOPE = "scope"
_OWN_COLUMNS = {
    "withheld": "Whether the counts are withheld, because they are about fewer learners than AMERICANO_MIN_LEARNERS.",
    "left_out": "Why analyses leave the day out; null for a day that counts.",
    "error": "Why it FAILED; null where it did not, and in answers about an earlier snapshot.",
    "dagster_run_id": "The Dagster run that carries it out; null where it is not known.",
}


@dataclass(frozen=True)
class Column:
    """A column of an answer.

    Attributes:
        kind: `string`, `integer`, `number`, `boolean`, `date`, `date-time` or `json`.
        description: what it holds.
    """

    kind: str
    description: str


@dataclass(frozen=True)
class Statement:
    """A statement that reads a published file.

    Attributes:
        name: of its SQL file.
        needs: the relations in `research` that it reads.
        fragments: what fills the placeholders of that file.
    """

    name: str
    needs: tuple[str, ...]
    fragments: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if SCOPE not in self.parameters:
            raise ValueError(f"serving/sql/{self.name}.sql does not bind $scope: it would show everybody's rows")

    @cached_property
    def text(self) -> str:
        """Its SQL."""
        return sql.render(sql.load("serving", self.name), **self.fragments)

    @cached_property
    def lists_records(self) -> bool:
        """Whether it also has rows of recorded analyses, which it binds as `$records`."""
        return "records" in self.parameters

    @cached_property
    def parameters(self) -> frozenset[str]:
        """The values that it binds."""
        return frozenset(_PARAMETER.findall(self.text))


@dataclass(frozen=True)
class AnswerTable:
    """A table that a route answers with.

    Attributes:
        name: of its files.
        summary: what a row is.
        statements: the first whose relations a file has is run.
        columns: its columns, in order.
        subject: the statement that shows whether what the path names is visible; None where there is none.
        is_single: whether it has one row, and 404 without it.
        slices: how a large answer is divided, None where it comes by one statement.
    """

    name: str
    summary: str
    statements: tuple[Statement, ...]
    columns: Mapping[str, Column]
    subject: Statement | None = None
    is_single: bool = False
    slices: "TimeSlices | None" = None


@dataclass(frozen=True)
class TimeSlices:
    """Parts of a table by time: to sort and join them one by one takes a fraction of the memory.

    Attributes:
        bounds: the statement that gives where each begins and ends; it binds `$slice_rows`.
        statement: the statement of one, which binds `$slice_from` and `$slice_until`.
    """

    bounds: Statement
    statement: Statement


def _columns(model: str, **kinds: str) -> dict[str, Column]:
    """Columns, described as those of a model in `research`."""
    descriptions = {**_OWN_COLUMNS, **MODEL_BY_NAME[model].columns}
    return {name: Column(kind.replace("_", "-"), descriptions[name]) for name, kind in kinds.items()}


_RESULT = {
    "verdict": "string",
    "standing": "string",
    "effect": "number",
    "interval_low": "number",
    "interval_high": "number",
    "p": "number",
    "sentence": "string",
}
_COUNTS = {"events": "integer", "learners": "integer", "withheld": "boolean"}
PROTOCOL_IS_VISIBLE = Statement("protocol_is_visible", ("protocols",))


def _report(name: str, summary: str, model: str, key: str, kind: str, value: str) -> AnswerTable:
    """A report of counts over learners.

    Args:
        name: of its files.
        summary: what a row is.
        model: the rollup.
        key: the rollup's column that is counted by.
        kind: the key's kind.
        value: SQL of the key of an event.
    """
    fragments = {"key": sql.quote(key), "rollup": sql.quote("research", model), "value": value}
    statement = Statement("report", (model, "events"), fragments)
    return AnswerTable(name, summary, (statement,), _columns(model, **{key: kind}, **_COUNTS))


_DAY, _WEEK = (f"CAST(date_trunc('{unit}', event_time) AS DATE)" for unit in ("day", "week"))
DAILY = _report("daily", "Events and learners by day (UTC)", "daily_events", "day", "date", _DAY)
WEEKLY = _report("weekly", "Events and learners by week", "weekly_events", "week", "date", _WEEK)
BY_PHASE = _report("by_phase", "Events and learners by phase label", "events_by_phase", "phase", "string", "phase")
BY_PROTOCOL = AnswerTable(
    "by_protocol",
    "Events by protocol",
    (Statement("report_by_protocol", ("events_by_protocol", "protocol_events")),),
    _columns("events_by_protocol", protocol_id="string", events="integer"),
)
_PROTOCOL_COLUMNS = {
    **_columns(
        "protocols",
        protocol_id="string",
        protocol_name="string",
        learner_id="string",
        design="string",
        primary_outcome="string",
        starts_at="date_time",
        ends_at="date_time",
    ),
    **_columns(
        "verdicts",
        status="string",
        **_RESULT,
        completed_at="date_time",
        analysis_run_id="string",
        record_sha256="string",
    ),
}
_PROTOCOL_STATEMENTS = (
    Statement("protocols", ("protocols", "verdicts")),
    Statement("protocols_alone", ("protocols",)),
)
PROTOCOLS = AnswerTable(
    "protocols", "Protocols with how far their analysis is and its result", _PROTOCOL_STATEMENTS, _PROTOCOL_COLUMNS
)
PROTOCOL = AnswerTable("protocol", "One protocol", _PROTOCOL_STATEMENTS, _PROTOCOL_COLUMNS, is_single=True)
PHASES = AnswerTable(
    "phases",
    "The phases of a protocol",
    (Statement("phases", ("phases",)),),
    _columns(
        "phases",
        phase_id="string",
        protocol_id="string",
        phase="string",
        phase_type="string",
        starts_at="date_time",
        ends_at="date_time",
        planned_days="integer",
    ),
    PROTOCOL_IS_VISIBLE,
)
SERIES = AnswerTable(
    "series",
    "The days of a protocol with their phase, the mean of the outcome, and why a day is left out",
    (Statement("series", ("daily_outcomes",)),),
    _columns(
        "daily_outcomes",
        day="integer",
        starts_at="date_time",
        phase="string",
        condition="string",
        value="number",
        events="integer",
        left_out="string",
    ),
    PROTOCOL_IS_VISIBLE,
)
_EVENTS_NEED = ("protocol_events", "events")
_SLICE = (
    "\n    AND {0}.event_time >= make_timestamp(CAST($slice_from AS BIGINT))"
    "\n    AND {0}.event_time < make_timestamp(CAST($slice_until AS BIGINT))"
)
EVENTS = AnswerTable(
    "events",
    "The events of a protocol, by time",
    (Statement("events", _EVENTS_NEED, {"slice": "", "slice_of_events": ""}),),
    {
        **_columns(
            "protocol_events",
            event_id="string",
            event_time="date_time",
            learner_id="string",
            phase="string",
            phase_type="string",
            event_type="string",
        ),
        **_columns("events", score="number", engagement="string", completion_quality="string"),
    },
    PROTOCOL_IS_VISIBLE,
    slices=TimeSlices(
        Statement("events_slices", ("protocol_events",)),
        Statement(
            "events",
            _EVENTS_NEED,
            {"slice": _SLICE.format("members"), "slice_of_events": _SLICE.format("events")},
        ),
    ),
)
_ANALYSES_COLUMNS = _columns(
    "analysis_runs",
    analysis_run_id="string",
    protocol_id="string",
    run_name="string",
    analysis_type="string",
    status="string",
    started_at="date_time",
    completed_at="date_time",
    **_RESULT,
    mlflow_run_id="string",
    record_sha256="string",
)
_RUNS = f"SELECT {', '.join(map(sql.quote, _ANALYSES_COLUMNS))} FROM research.analysis_runs"  # noqa: S608 - quoted
_NO_RUNS = "SELECT * FROM memory.main.recorded_rows(NULL)"
ANALYSES = AnswerTable(
    "analyses",
    "Analysis runs with their results, newest first",
    (
        Statement("analyses", ("analysis_runs", "protocols"), {"published": _RUNS}),
        Statement("analyses", ("protocols",), {"published": _NO_RUNS}),
    ),
    _ANALYSES_COLUMNS,
)
_ANALYSIS_COLUMNS = _columns(
    "analysis_runs",
    analysis_run_id="string",
    protocol_id="string",
    run_name="string",
    analysis_type="string",
    parameters="json",
    status="string",
    started_at="date_time",
    completed_at="date_time",
    error="string",
    **_RESULT,
)
ANALYSIS = AnswerTable(
    "analysis",
    "One analysis: parameters, plan, verdict and effect with its interval",
    (Statement("analysis", ("analysis_runs", "protocols")),),
    {
        **_ANALYSIS_COLUMNS,
        **_columns("protocols", primary_outcome="string", analysis_plan="string", deviations="json"),
        **_columns("analysis_runs", mlflow_run_id="string", record_sha256="string", dagster_run_id="string"),
    },
    is_single=True,
)
PROTOCOL_PLAN = Statement("protocol_plan", ("protocols",))
TABLES = (DAILY, WEEKLY, BY_PHASE, BY_PROTOCOL, PROTOCOLS, PROTOCOL, PHASES, SERIES, EVENTS, ANALYSES, ANALYSIS)
