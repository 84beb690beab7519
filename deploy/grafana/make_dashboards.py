"""Write the Grafana dashboards of this folder: `python deploy/grafana/make_dashboards.py`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import barchart, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import GraphDrawStyle, VisibilityMode, VizOrientation
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableRefresh,
)

FOLDER = Path(__file__).parent / "dashboards"
_INFINITY = "yesoreyeram-infinity-datasource"
RESEARCHERS = DataSourceRef(type_val=_INFINITY, uid="americano")
OPERATORS = DataSourceRef(type_val=_INFINITY, uid="americano-operator")
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
_PROTOCOL = "/v1/protocols/${protocol:percentencode}"
_KINDS = {"time": "timestamp", "number": "number", "text": "string", "boolean": "boolean"}
_WIDE, _HALF, _THIRD, _SIXTH = 24, 12, 8, 4


@dataclass
class Rows(Dataquery, Builder[Dataquery]):
    """A query of the Infinity data source.

    Attributes:
        address: below the data source's address.
        columns: kind (`time`, `number`, `text` or `boolean`) by the name of the API's column.
        source: the data source.
        rows: the jq expression that gives the rows.
        ref_id: its letter in the panel.
    """

    address: str
    columns: dict[str, str]
    source: DataSourceRef = field(default_factory=lambda: RESEARCHERS)
    rows: str = ".rows[]"
    ref_id: str = "A"

    def build(self) -> Dataquery:
        """Itself."""
        return self

    def to_json(self) -> dict[str, Any]:
        """The query as Infinity stores it."""
        return {
            "refId": self.ref_id,
            "datasource": self.source,
            "type": "json",
            "source": "url",
            "parser": "jq-backend",
            "format": "table",
            "url": self.address,
            "url_options": {"method": "GET", "data": ""},
            "root_selector": self.rows,
            "columns": [{"selector": name, "text": name, "type": _KINDS[kind]} for name, kind in self.columns.items()],
            "filters": [],
        }


def _titled(panel: Any, title: str, width: int, height: int, description: str = "") -> Any:
    panel.title(title).span(width).height(height)
    return panel.description(description) if description else panel


def _table(title: str, query: Rows, width: int = _WIDE, height: int = 8, description: str = "") -> Any:
    panel = table.Panel().datasource(query.source).with_target(query).filterable(filterable=True)
    return _titled(panel, title, width, height, description)


def _stat(title: str, query: Rows, unit: str, warn_above: float | None = None) -> Any:
    """One figure of the API, the last value of its only column."""
    panel = stat.Panel().datasource(query.source).with_target(query).unit(unit)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("/.*/"))
    return _titled(_coloured(panel, warn_above), title, _SIXTH, 4)


def _coloured(panel: Any, warn_above: float | None) -> Any:
    steps = [Threshold(value=None, color="green")]
    if warn_above is not None:
        steps.append(Threshold(value=warn_above, color="red"))
    return panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))


def _expression(text: str, legend: str = "", ref_id: str = "A") -> prometheus.Dataquery:
    query = prometheus.Dataquery().datasource(PROMETHEUS).expr(text).ref_id(ref_id)
    return query.legend_format(legend) if legend else query


def _figure(title: str, text: str, unit: str = "short", warn_above: float | None = None) -> Any:
    """One figure of Prometheus, as it is now."""
    panel = stat.Panel().datasource(PROMETHEUS).with_target(_expression(text).instant()).unit(unit)
    return _titled(_coloured(panel, warn_above), title, _SIXTH, 4)


def _curves(title: str, unit: str, *queries: prometheus.Dataquery) -> Any:
    panel = timeseries.Panel().datasource(PROMETHEUS).unit(unit).min(0)
    for query in queries:
        panel.with_target(query)
    return _titled(panel, title, _HALF, 8)


def _events_by_time(title: str, report: str, key: str) -> Any:
    query = Rows(f"/v1/reports/{report}", {key: "time", "events": "number", "learners": "number"})
    panel = timeseries.Panel().datasource(query.source).with_target(query).min(0)
    panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60)
    panel.override_by_name("learners", [DynamicConfigValue(id_val="custom.drawStyle", value="line")])
    return _titled(panel, title, _HALF, 8, "Counts over few learners are withheld: AMERICANO_MIN_LEARNERS.")


def _days_of_a_protocol() -> Any:
    """The days, one series for each phase, so that no line leads from one phase to the next."""
    columns = {"starts_at": "time", "value": "number", "phase": "text"}
    query = Rows(f"{_PROTOCOL}/series", columns, rows=".rows[] | select(.left_out == null)")
    panel = timeseries.Panel().datasource(query.source).with_target(query)
    panel.show_points(VisibilityMode.ALWAYS).point_size(7).line_width(1)
    panel.with_transformation(
        DataTransformerConfig(id_val="partitionByValues", options={"fields": ["phase"], "keepFields": False})
    )
    return _titled(panel, "Mean of the outcome by day", _WIDE, 10, "Without the days that analyses leave out.")


def _of_protocols() -> dashboard.QueryVariable:
    query = Rows("/v1/protocols", {"__text": "text", "__value": "text"}, ref_id="variable")
    query.rows = ".rows[] | {__text: (.protocol_name // .protocol_id), __value: .protocol_id}"
    variable = dashboard.QueryVariable("protocol").label("Protocol").datasource(RESEARCHERS)
    variable.query({"queryType": "infinity", "query": "", "infinityQuery": query.to_json()})
    return variable.refresh(VariableRefresh.ON_DASHBOARD_LOAD).hide(VariableHide.DONT_HIDE)


_RESULT = {
    "verdict": "text",
    "standing": "text",
    "effect": "number",
    "interval_low": "number",
    "interval_high": "number",
    "p": "number",
    "sentence": "text",
}


def researchers() -> dashboard.Dashboard:
    """Protocols with their results, one protocol day by day, and counts over all learners."""
    board = dashboard.Dashboard("Americano: experiments").uid("americano-researchers").tags(["americano"])
    board.time("now-1y", "now").timezone("utc").tooltip(DashboardCursorSync.CROSSHAIR).with_variable(_of_protocols())
    protocols = {"protocol_name": "text", "design": "text", "starts_at": "time", "ends_at": "time", "status": "text"}
    board.with_row(dashboard.Row("All experiments"))
    board.with_panel(_table("Experiments", Rows("/v1/protocols", protocols | _RESULT), height=9))
    board.with_panel(_events_by_time("Events and learners by day", "daily", "day"))
    board.with_panel(_events_by_time("Events and learners by week", "weekly", "week"))
    phases = Rows("/v1/reports/by-phase", {"phase": "text", "events": "number", "learners": "number"})
    bars = barchart.Panel().datasource(phases.source).with_target(phases).orientation(VizOrientation.HORIZONTAL)
    board.with_panel(_titled(bars.x_field("phase"), "Events and learners by phase", _HALF, 8))
    by_protocol = Rows("/v1/reports/by-protocol", {"protocol_id": "text", "events": "number"})
    board.with_panel(_table("Events by experiment", by_protocol, _HALF))
    board.with_row(dashboard.Row("The chosen experiment"))
    board.with_panel(_days_of_a_protocol())
    dates = {"phase": "text", "phase_type": "text", "starts_at": "time", "ends_at": "time", "planned_days": "number"}
    board.with_panel(_table("Phases", Rows(f"{_PROTOCOL}/phases", dates), _HALF))
    left_out = Rows(f"{_PROTOCOL}/series", {"starts_at": "time", "events": "number", "left_out": "text"})
    left_out.rows = ".rows[] | select(.left_out != null)"
    board.with_panel(_table("Days that are left out", left_out, _HALF))
    runs = {"run_name": "text", "analysis_type": "text", "status": "text", "completed_at": "time"}
    analyses = Rows("/v1/analyses?protocol=${protocol:percentencode}", runs | _RESULT | {"record_sha256": "text"})
    return board.with_panel(_table("Analyses", analyses))


def operators() -> dashboard.Dashboard:
    """Whether the published file is fresh, whether syncs succeed, and how the API answers."""
    board = dashboard.Dashboard("Americano: operations").uid("americano-operators").tags(["americano"])
    board.time("now-24h", "now").timezone("utc").refresh("1m").tooltip(DashboardCursorSync.CROSSHAIR)
    board.with_row(dashboard.Row("The published file"))
    board.with_panel(_stat("Age", Rows("/v1/ready", {"age_seconds": "number"}, OPERATORS, "."), "s"))
    late = Rows("/v1/ready", {"late": "number"}, OPERATORS, "{late: (if .late then 1 else 0 end)}")
    board.with_panel(_stat("Late", late, "bool_yes_no", 1))
    board.with_panel(_figure("Failed checks", "americano_failed_checks", warn_above=1))
    board.with_panel(_figure("Since the last good sync", "time() - americano_sync_success_timestamp_seconds", "s"))
    board.with_panel(_figure("Last sync failed", "americano_sync_failed", "bool_yes_no", 1))
    board.with_panel(_figure("Runs failed in 7 days", "americano_failed_runs", warn_above=1))
    columns = {"snapshot_id": "text", "instant": "time", "built_at": "time", "current": "boolean", "sha256": "text"}
    board.with_panel(_table("Kept snapshots", Rows("/v1/snapshots", columns, OPERATORS, ".snapshots[]"), _HALF))
    board.with_panel(_curves("Age of the file", "s", _expression("americano_snapshot_age_seconds", "age")))
    board.with_row(dashboard.Row("The API"))
    rate = "sum by (status) (rate(americano_api_requests_total[$__rate_interval]))"
    board.with_panel(_curves("Answers by status", "reqps", _expression(rate, "{{status}}")))
    buckets = "sum by (le) (rate(americano_api_request_seconds_bucket[$__rate_interval]))"
    times = [
        _expression(f"histogram_quantile({share}, {buckets})", f"{share:.0%}", letter)
        for share, letter in ((0.5, "A"), (0.95, "B"), (0.99, "C"))
    ]
    board.with_panel(_curves("Time to the end of an answer", "s", *times))
    kept = "sum(rate(americano_api_kept_answers_total[$__rate_interval]))"
    board.with_panel(_curves("Kept answers", "reqps", _expression(kept, "kept answers")))
    running = _expression("americano_api_queries_running", "queries")
    files = _expression("americano_api_open_files", "open files", "B")
    board.with_panel(_curves("Running queries and open files", "short", running, files))
    board.with_panel(_curves("Memory", "bytes", _expression("process_resident_memory_bytes{job='americano'}", "API")))
    processor = "rate(process_cpu_seconds_total{job='americano'}[$__rate_interval])"
    return board.with_panel(_curves("Processor", "percentunit", _expression(processor, "API")))


def dashboards() -> dict[str, str]:
    """The JSON of each dashboard, by the name of its file."""
    boards = {"researchers.json": researchers(), "operators.json": operators()}
    return {
        name: json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for name, board in boards.items()
    }


if __name__ == "__main__":
    for file_name, text in dashboards().items():
        (FOLDER / file_name).write_text(text, encoding="utf-8")
