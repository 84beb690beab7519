"""Each panel of the dashboards and each alert, replayed against the real service: what it names is there."""

import json
import re
import runpy
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import httpx
import jq
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.settings import PROJECT_ROOT, Settings
from americano_pipelines_tests.conftest import free_port
from americano_pipelines_tests.serving.conftest import Api, start
from americano_pipelines_tests.serving.published import publish_example, tables

GRAFANA, PROMETHEUS = PROJECT_ROOT / "deploy" / "grafana", PROJECT_ROOT / "deploy" / "prometheus"
KEY_OF = {"americano": "read", "americano-operator": "operator"}
EVENTLESS = "without events + a b?c=%25&d"
INTERVAL = "$__rate_interval"


def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panels(kind: str) -> list[Any]:
    """The panels whose data source is of a kind, with the title as the test's name."""
    listed = [
        pytest.param(panel, id=panel["title"])
        for board in boards().values()
        for panel in board["panels"]
        if panel["type"] != "row" and panel["datasource"]["type"] == kind
    ]
    assert listed
    return listed


INFINITY_PANELS = panels("yesoreyeram-infinity-datasource")
PROMETHEUS_PANELS = panels("prometheus")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The service on a file with an experiment without events, and with a good and a failed sync in Dagster."""
    folder = tmp_path_factory.mktemp("grafana")
    eventless = f"""
        UNION ALL BY NAME
        SELECT '{EVENTLESS}' AS id, 'nobody' AS "userId", TIMESTAMP '2025-01-01' AS "startDate", 'ABAB' AS "designType",
            'sessionPerformanceScore' AS "primaryOutcome" """
    settings = publish_example(folder / "data", experiment_protocols=tables()["experiment_protocols"] + eventless)
    record_syncs(settings)
    api = start(settings, folder / "api.log", americano_api_rate=1_000_000, americano_min_learners=1)
    yield api
    api.stop()


def record_syncs(settings: Settings) -> None:
    with open_instance(settings) as instance:
        for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED):
            instance.add_run(dg.DagsterRun(job_name=NIGHTLY, run_id=str(uuid.uuid4()), status=status))
            time.sleep(0.01)


def protocols(api: Api) -> list[str]:
    """What the variable `protocol` offers."""
    (variable,) = boards()["researchers"]["templating"]["list"]
    query = variable["query"]["infinityQuery"] | {"datasource": variable["datasource"]}
    return [row["__value"] for row in replayed(api, query, "")]


def replayed(api: Api, query: dict[str, Any], protocol: str) -> list[dict[str, Any]]:
    """Ask as Infinity does: fill in the variable, call the address, select rows, and take the columns by their type."""
    address = query["url"].replace("${protocol:percentencode}", quote(protocol, safe=""))
    assert "$" not in address
    answer = api.get(address, api.key(KEY_OF[query["datasource"]["uid"]]))
    assert answer.status_code == 200, answer.text
    rows = jq.compile(query["root_selector"]).input_value(answer.json()).all()
    assert all(isinstance(row, dict) for row in rows)
    for row in rows:
        for column in query["columns"]:
            assert column["selector"] in row, (query["url"], column)
            assert is_of_type(row[column["selector"]], column["type"]), (query["url"], column, row)
    return rows


def is_of_type(value: Any, kind: str) -> bool:
    match kind:
        case _ if value is None:
            return True
        case "timestamp":
            return datetime.fromisoformat(value).year > 2000
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case _:
            return isinstance(value, str)


def named_fields(panel: dict[str, Any]) -> set[str]:
    """The columns that a panel names beside its query."""
    partitions = [name for change in panel.get("transformations", []) for name in change["options"]["fields"]]
    overrides = [override["matcher"]["options"] for override in panel.get("fieldConfig", {}).get("overrides", [])]
    axis = panel["options"].get("xField") if "options" in panel else None
    return {*partitions, *overrides, *([axis] if axis else [])}


def test_the_dashboards_are_what_the_script_writes() -> None:
    written = runpy.run_path(str(GRAFANA / "make_dashboards.py"))["dashboards"]()

    assert written == {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")}


@pytest.mark.parametrize("panel", INFINITY_PANELS)
def test_a_panel_has_its_columns(watched: Api, panel: dict[str, Any]) -> None:
    (query,) = panel["targets"]

    rows = replayed(watched, query, "protocol-learner-1")

    assert named_fields(panel) <= {column["text"] for column in query["columns"]}
    if panel["title"] != "Days that are left out":
        assert rows
    if panel["type"] != "stat":
        for column in query["columns"]:  # a column without any value would hide a wrong type
            known = [row for row in rows if row[column["selector"]] is not None]
            assert known or column["selector"] in {"left_out", "starts_at", "events", "p", "record_sha256"}, column


@pytest.mark.parametrize("panel", INFINITY_PANELS)
def test_an_experiment_without_events_has_empty_panels(watched: Api, panel: dict[str, Any]) -> None:
    (query,) = panel["targets"]
    assert EVENTLESS in protocols(watched)

    rows = replayed(watched, query, EVENTLESS)

    assert rows == [] or "${protocol" not in query["url"]


def test_the_variable_offers_every_experiment(watched: Api) -> None:
    assert len(protocols(watched)) == len(watched.rows("/v1/protocols")) == 9


def test_every_data_source_is_provisioned_without_a_key_in_the_file() -> None:
    document = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "americano.yml").read_text())
    sources = {source["uid"]: source for source in document["datasources"]}
    used = {
        panel["datasource"]["uid"] for board in boards().values() for panel in board["panels"] if "targets" in panel
    }

    assert used == set(sources)
    keys = {uid: source["secureJsonData"] for uid, source in sources.items() if "secureJsonData" in source}
    assert keys == {
        "americano": {"bearerToken": "$AMERICANO_READ_KEY"},
        "americano-operator": {"bearerToken": "$AMERICANO_OPERATOR_KEY"},
    }


def exported(api: Api) -> dict[str, set[str]]:
    """The names of all samples of the service with their labels."""
    api.get("/v1/protocols")
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(api.get("/v1/metrics", api.key("operator")).text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def alerts() -> dict[str, str]:
    document = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    return {rule["alert"]: rule["expr"] for group in document["groups"] for rule in group["rules"]}


def expressions() -> dict[str, str]:
    """Every expression of the panels and the alerts, by what it is for."""
    of_panels = {f"{p.id} {t['refId']}": t["expr"] for p in PROMETHEUS_PANELS for t in p.values[0]["targets"]}
    return of_panels | alerts()


def test_every_figure_of_a_panel_or_an_alert_is_exported(watched: Api) -> None:
    samples = exported(watched)
    of_prometheus = {"up": {"job", "instance"}}

    for title, expression in expressions().items():
        bare = re.sub(r'"[^"]*"|\'[^\']*\'', '""', expression)
        names = set(re.findall(r"\b(?:americano_\w+|process_\w+|up)\b", bare))
        assert names, title
        assert names <= set(samples) | set(of_prometheus), title
        labels = set(re.findall(r"(\w+)[!=]?[=~]\"", bare)) | set(re.findall(r"by \((\w+)\)", bare))
        known = set().union(*({**samples, **of_prometheus}[name] for name in names), {"job"})
        assert labels <= known, title


def test_the_figures_tell_of_the_last_sync(watched: Api) -> None:
    deadline = time.monotonic() + 60
    while not (failed := watched.figure("americano_sync_failed")) >= 0 and time.monotonic() < deadline:
        time.sleep(0.5)  # they are read in the background

    assert failed == 1
    assert watched.figure("americano_failed_runs") == 1
    assert watched.figure("americano_unfinished_runs") == 1
    assert 0 <= time.time() - watched.figure("americano_sync_success_timestamp_seconds") < 600


def test_every_alert_is_tried() -> None:
    document = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())
    quiet, loud = document["tests"]

    assert {case["alertname"] for case in quiet["alert_rule_test"]} == set(alerts())
    assert {case["alertname"] for case in loud["alert_rule_test"] if case["exp_alerts"]} == set(alerts())


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.slow
def test_promtool_accepts_the_rules_and_every_expression(tmp_path: Path) -> None:
    promtool = program("promtool")
    rules = [{"record": "a:b", "expr": text.replace(INTERVAL, "1m")} for text in expressions().values()]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    for command in (
        ("test", "rules", "rules_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("check", "rules", "--lint=none", str(tmp_path / "panels.yml")),
    ):
        done = subprocess.run([promtool, *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def prometheus(watched: Api, tmp_path: Path) -> Iterator[Callable[[str], list[Any]]]:
    """A real Prometheus that reads the service by the shipped configuration; asks it for the value of an expression."""
    binary, port = program("prometheus"), free_port()
    key = tmp_path / "americano.key"
    key.write_text(watched.key("operator"))
    document = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (scrape,) = document["scrape_configs"]
    scrape["authorization"]["credentials_file"] = str(key)
    scrape["static_configs"][0]["targets"] = [f"127.0.0.1:{watched.port}"]
    scrape["scrape_interval"] = "1s"
    shutil.copy(PROMETHEUS / "rules.yml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(document))
    process = subprocess.Popen(
        [binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ask(expression: str) -> list[Any]:
        address = f"http://127.0.0.1:{port}/api/v1/query"
        try:
            answer = httpx.get(address, params={"query": expression}, timeout=10)
        except httpx.TransportError:
            return []
        assert answer.status_code in {200, 503}, answer.text
        result: list[Any] = answer.json()["data"]["result"] if answer.status_code == 200 else []
        return result

    yield ask
    process.terminate()
    process.wait(timeout=20)


@pytest.mark.slow
def test_prometheus_reads_what_every_panel_shows(watched: Api, prometheus: Callable[[str], list[Any]]) -> None:
    queries = {title: text.replace(INTERVAL, "10s") for title, text in expressions().items() if title not in alerts()}
    deadline = time.monotonic() + 40

    while (empty := [title for title, text in queries.items() if not prometheus(text)]) and time.monotonic() < deadline:
        watched.rows("/v1/protocols")
        time.sleep(1)

    assert empty == []
    assert prometheus('up{job="americano"}')[0]["value"][1] == "1"
    assert prometheus("americano_unfinished_runs")[0]["value"][1] == "1"
