"""The analysis assets on the demo's own experiments: judged as they were made, recorded, linked, shown."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import psycopg2
import pytest
import yaml
from psycopg2.extras import RealDictCursor

from americano_pipelines.analysis.registry import KINDS, Kind
from americano_pipelines.defs import verdict_table
from americano_pipelines.defs.analyses.analysis_metadata import hashes_of_partition
from americano_pipelines.defs.analyses.assets import actor
from americano_pipelines.defs.analyses.config import given_parameters, launchpad
from americano_pipelines.defs.analyses.launch_analyses import Launched, run_analyses, run_requests
from americano_pipelines.defs.analyses.resources import WarehouseResource
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.job_names import ANALYSES
from americano_pipelines.defs.protocol_partitions import partitions
from americano_pipelines.defs.run_tags import COMMAND_TAG, PARTITION_TAG, PROTOCOL_NAME_TAG, RECORD_SHA256
from americano_pipelines.demo.data.analysis_rows import protocol_ids
from americano_pipelines.demo.data.protocols import PROTOCOLS
from americano_pipelines.demo.server import DemoServer
from americano_pipelines.mlflow_store.analysis_run import AnalysisRun
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.provenance.archive import get
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines.warehouse.snapshots import open_published
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.defs.conftest import Runner, failure, metadata
from americano_pipelines_tests.plan_witness import seen_long_ago
from americano_pipelines_tests.statistics.examples import TRUTHS

ABAB, ITS, CHANGES = "abab_randomization", "interrupted_time_series", "change_points"
IDS = protocol_ids()


@dataclass(frozen=True)
class Study:
    """The demo's server, a data folder with what it holds published, and an instance of Dagster's."""

    server: DemoServer
    settings: Settings
    instance: dg.DagsterInstance

    def run(self, name: str, *kinds: str, **config: Any) -> dg.ExecuteInProcessResult:
        """Run analyses of a protocol, by the protocol's short name."""
        job = build_defs(self.settings).resolve_job_def(ANALYSES)
        return job.execute_in_process(
            instance=self.instance,
            partition_key=IDS[name],
            raise_on_error=False,
            asset_selection=[dg.AssetKey(["analysis", kind]) for kind in kinds],
            run_config={"ops": {f"analysis__{kind}": {"config": config} for kind in kinds}},
        )

    def row(self, analysis_run_id: str) -> dict[str, Any]:
        """The app's row."""
        return self.ask("SELECT * FROM analysis_runs WHERE id = %s", analysis_run_id)[0]

    def ask(self, statement: str, *bound: Any) -> list[dict[str, Any]]:
        """Ask the app's database as its owner."""
        postgres = self.server.postgres
        with psycopg2.connect(
            host=postgres.host, port=postgres.port, user="postgres", dbname="americano", cursor_factory=RealDictCursor
        ) as link:
            link.autocommit = True
            with link.cursor() as cursor:
                cursor.execute(statement, bound)
                return [dict(row) for row in cursor.fetchall()] if cursor.description else []


@pytest.fixture(scope="module")
def study(server_folder: Path, empty_store: Path) -> Iterator[Study]:
    folder = server_folder / "study"
    server = DemoServer(folder)
    try:
        server.up()
        with dg.DagsterInstance.ephemeral() as instance:
            values = {name.lower(): value for name, value in server.environment().items()}
            settings = load_settings(americano_data_dir=folder, log_level="WARNING", **values)
            (folder / "mlflow").mkdir()
            (folder / "mlflow" / "mlflow.db").write_bytes(empty_store.read_bytes())
            assert Runner(settings, instance).run().success
            seen_long_ago(settings)
            yield Study(server, settings, instance)
    finally:
        server.down()


def shown(result: dg.ExecuteInProcessResult, kind: str = ABAB) -> dict[str, Any]:
    assert result.success, failure(result)
    return metadata(result, f"analysis/{kind}")


def sha256_of(entries: dict[str, Any]) -> str:
    return str(entries[RECORD_SHA256]).replace(" ", "")


def own_result(entries: dict[str, Any]) -> str:
    """The result of the run itself, which comes second where there is a planned one."""
    return str(entries.get("result of this run", entries["result"]))


def row_of(entries: dict[str, Any]) -> str:
    return str(entries["row in the app"]).partition(":")[0]


def record_of(study: Study, sha256: str) -> Record:
    return Record.parse(get(study.settings.paths.records, sha256))


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_a_planned_analysis_judges_as_the_generator_says(study: Study, protocol: Any) -> None:
    entries = shown(study.run(protocol.name, ABAB))

    assert entries["verdict"] == TRUTHS[protocol.name]
    assert (entries["standing"], entries["earlier analyses"]) == ("planned", 0)
    assert entries["result"].endswith(
        "This is the planned analysis, the first after the end; its plan was first seen on 2020-01-01."
    )
    record = record_of(study, sha256_of(entries))
    assert record.config["direction"] == protocol.direction
    assert record.results["test"]["schedule from"] == "recorded with the phases"  # type: ignore[index, call-overload]


def test_what_is_shown_is_what_is_recorded_in_every_place(study: Study) -> None:
    entries = shown(study.run("worked_examples", ABAB, CHANGES, ITS))
    sha256 = sha256_of(entries)
    assert sha256 in hashes_of_partition(study.instance, "protocol", IDS["worked_examples"])
    assert sha256 not in hashes_of_partition(study.instance, "protocol", IDS["interleaved_practice"])
    record = record_of(study, sha256)
    store = open_store(study.settings)
    run = store.client.get_run(entries["MLflow run id"])
    row = study.row(row_of(entries))

    assert run.data.tags["provenance.sha256"] == sha256
    assert row["resultsSummary"]["provenance_sha256"] == sha256
    assert run.info.status == "FINISHED"
    assert record.logged.tags.items() <= run.data.tags.items()
    assert record.logged.params == run.data.params
    assert {name: points[-1][1] for name, points in record.logged.metrics.items() if points} == run.data.metrics
    assert (row["status"], row["mlflowRunId"]) == ("COMPLETED", run.info.run_id)
    assert row["resultsSummary"]["verdict"] == entries["verdict"] == record.verdict
    assert row["codeCommitHash"] == record.code.commit == run.data.tags["git.commit"]
    assert run.data.tags["mlflow.source.git.commit"] == record.code.commit
    assert run.data.tags["mlflow.note.content"].startswith(record.sentence)
    assert run.data.tags["mlflow.source.name"] == "analysis/abab_randomization"
    # The columns by which MLflow's list is sorted and filtered are part of the record.
    assert record.standing is not None
    standing = record.standing.label
    outcome = {"protocol": "Worked examples before problem sets", "verdict": "benefit", "standing": standing}
    assert {name: record.logged.tags[name] for name in outcome} == outcome
    parent = store.client.get_run(run.data.tags["mlflow.parentRunId"])
    assert (parent.info.run_name, parent.data.tags["mlflow.source.name"]) == (outcome["protocol"], ANALYSES)
    (used,) = run.inputs.dataset_inputs
    assert record.extract_sha256.startswith(used.dataset.digest)
    assert len(used.dataset.digest) == 36
    assert row["dataVersionHash"] == record.extract_sha256 == run.data.tags["data.sha256"]
    assert run.data.tags["data.snapshot_id"] == entries["snapshot"] == record.inputs[0].snapshot_id
    assert (study.settings.paths.extracts / f"{record.extract_sha256}.json").is_file()
    assert set(record.artifacts) >= {"phases.png", "distribution.png", "daily.csv", "report.html", "results.json",
                                     "provenance/extract.json", "provenance/requirements.lock"}  # fmt: skip
    learner = study.ask('SELECT "userId" FROM experiment_protocols WHERE id = %s', IDS["worked_examples"])[0]["userId"]
    assert learner not in record.canonical().decode()
    assert learner not in get(study.settings.paths.extracts, record.extract_sha256).decode()


def test_the_exact_tags_are_on_every_run_and_unknown_is_said(study: Study) -> None:
    entries = shown(study.run("phone_on_the_desk", CHANGES), CHANGES)
    tags = open_store(study.settings).client.get_run(entries["MLflow run id"]).data.tags
    ours = {name for name in tags if not name.startswith("mlflow.")}

    assert ours == {"git.commit", "git.dirty", "dvc.lock.sha256", "analysis_run_id", "service", "env",
                    "dagster_run_id", "dagster.asset_key", "dagster.partition", "data.snapshot_id", "data.sha256",
                    "provenance.sha256", "protocol", "standing"}  # fmt: skip
    assert tags["dvc.lock.sha256"] == "unknown"
    assert (tags["dagster.asset_key"], tags["dagster.partition"]) == (
        "analysis/change_points",
        IDS["phone_on_the_desk"],
    )
    assert tags["service"] == "americano_pipelines"


def test_a_second_look_is_exploratory_and_counts_what_came_before(study: Study) -> None:
    shown(study.run("lecture_podcasts", ABAB))
    before = shown(study.run("lecture_podcasts", ABAB))["earlier analyses"]
    again = shown(study.run("lecture_podcasts", ABAB))

    assert (again["standing of this run"], again["earlier analyses"]) == ("exploratory", before + 1)
    assert "it is not the first of its kind after the end" in again["result of this run"]
    assert f"{before + 1} analyses of this protocol came before it" in again["result of this run"]
    # The numbers are this run's, below the result of the planned one.
    assert {"p of this run", "effect of this run", "NAP, overlap of days of this run"} <= again.keys()
    assert again.keys() & {"p", "effect", "NAP, overlap of days"} == set()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"direction": "either"}, "direction is 'either', 'increase' was planned"),
        ({"alpha": 0.01}, "alpha is 0.01, 0.05 was planned"),
        ({"outcome": "timeOfDay"}, "the outcome is timeOfDay, the primary one is sessionPerformanceScore"),
    ],
)
def test_another_question_than_was_planned_is_exploratory(study: Study, config: dict[str, Any], why: str) -> None:
    entries = shown(study.run("spaced_retrieval", ABAB, **config))

    assert entries["standing of this run"] == "exploratory"
    assert why in entries["result of this run"]
    assert (entries["verdict"], next(iter(entries))) == (TRUTHS["spaced_retrieval"], "result")
    assert entries["result"].startswith("Benefit: ")
    assert " This is the planned analysis, the randomization test of 20" in entries["result"]


def test_before_the_end_of_the_plan_there_is_no_verdict(study: Study) -> None:
    study.ask(
        'UPDATE phase_assignments SET "plannedDuration" = "plannedDuration" + 900, "endDate" = NULL '
        'WHERE "protocolId" = %s AND "phaseLabel" = %s',
        IDS["reminder_messages"],
        "intervention_A_2",
    )
    study.ask('UPDATE experiment_protocols SET "endDate" = NULL WHERE id = %s', IDS["reminder_messages"])
    assert Runner(study.settings, study.instance).run().success

    entries = shown(study.run("reminder_messages", ABAB))

    assert (entries["verdict of this run"], entries["standing of this run"]) == ("no verdict", "exploratory")
    assert "the plan is not over before 20" in entries["result of this run"]


@pytest.mark.slow
def test_the_page_of_a_second_look_says_first_that_it_is_exploratory(study: Study, tmp_path: Path) -> None:
    for _ in range(2):
        entries = shown(study.run("worked_examples", ABAB))
    client, run_id = open_store(study.settings).client, entries["MLflow run id"]
    page = Path(client.download_artifacts(run_id, "report.html", str(tmp_path))).read_text(encoding="utf-8")

    assert page.index('<p class="standing">Exploratory (') < page.index("<h2>")
    assert "<tr><th>direction</th><td>increase</td></tr>" in page[page.index("<h2>Parameters</h2>") :]
    assert entries["better"] == "higher"
    assert record_of(study, sha256_of(entries)).not_captured.keys() >= {
        "orchestrator.url",
        "tracking.url",
    }


def test_pictures_and_tables_are_shown(study: Study) -> None:
    entries = shown(study.run("morning_warm_up", ITS, ABAB))

    for picture in ("phases", "distribution"):
        code = entries[picture].split("base64,")[1].rstrip(")")
        assert base64.b64decode(code).startswith(b"\x89PNG")
    assert "| baseline_1 | " in entries["days"]
    # Another test may have made the planned analysis of this protocol before.
    of_run = " of this run" if "standing of this run" in entries else ""
    p = entries[f"p{of_run}"]
    assert p > 0.05
    assert p == float(f"{p:.4g}")
    assert entries[f"NAP, overlap of days{of_run}"][1:5].startswith(".")
    texts = [value for value in entries.values() if isinstance(value, str) and not value.startswith("![")]
    assert [word for text in texts for word in text.split() if len(word) > 40] == [], "wider than the page"
    assert "lines" in metadata(study.run("morning_warm_up", ITS), f"analysis/{ITS}")


def test_the_launchpad_offers_what_can_be_asked(study: Study) -> None:
    job = build_defs(study.settings).resolve_job_def(ANALYSES)
    fields = job.nodes_in_topological_order[0].definition.config_schema.config_type.fields  # type: ignore[attr-defined]
    assert fields["improvement"].description.startswith("Which way")
    assert " It must be above 0, below 1. Unset: as planned, else 0.05." in fields["alpha"].description
    assert fields["min_days"].description.endswith(" It must be at least 1.")
    refused = study.run("spaced_retrieval", ABAB, alpha=1.5)
    assert "alpha: Input should be less than 1" in failure(refused)
    with pytest.raises(dg.DagsterInvalidConfigError, match="direction"):
        study.run("spaced_retrieval", ABAB, direction="up")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_yaml_of_the_description_is_accepted_and_changes_nothing(study: Study, kind: Kind) -> None:
    definitions = build_defs(study.settings)
    description = definitions.resolve_asset_graph().get(dg.AssetKey(["analysis", kind.name])).description or ""
    run_config = yaml.safe_load(description.partition("```yaml\n")[2].partition("```")[0])
    (config,) = (step["config"] for step in run_config["ops"].values())

    dg.validate_run_config(definitions.resolve_implicit_global_asset_job_def(), run_config)

    assert kind.parameters.model_fields.keys() <= config.keys() == launchpad(kind).model_fields.keys()
    parameters = given_parameters(launchpad(kind)(**config))
    assert kind.parameters(**parameters) == kind.parameters()
    assert parameters == {} or kind.scope == "all learners", "a parameter that is given may differ from the plan"


def test_all_verdicts_are_reported_by_name_and_an_exploration_changes_none(study: Study) -> None:
    def reported() -> dict[str, str]:
        latest = study.instance.get_latest_materialization_event(verdict_table.VERDICTS_KEY)
        assert latest is not None
        assert latest.asset_materialization is not None
        return {name: str(value.value) for name, value in latest.asset_materialization.metadata.items()}

    planned = shown(study.run("spaced_retrieval", ABAB))
    before, title, protocol_id = reported(), planned["protocol"], IDS["spaced_retrieval"]
    tags = [run.tags for run in study.instance.get_runs(dg.RunsFilter(tags={PROTOCOL_NAME_TAG: title}))]

    assert title == next(protocol.title for protocol in PROTOCOLS if protocol.name == "spaced_retrieval")
    assert {run_tags[PARTITION_TAG] for run_tags in tags} == {protocol_id}
    assert before[title].startswith("**benefit**, effect +")
    assert f"[partition](/assets/analysis/{ABAB}?view=partitions&partition={protocol_id})" in before[title]
    assert re.search(r"\), p = \.\d+, planned\. ", before[title])
    assert re.search(rf"\| {title} \| {protocol_id} \| benefit \|", before["all protocols"])
    assert len(before) == 1 + len(IDS)

    exploration = shown(study.run("spaced_retrieval", ABAB, direction="decrease"))

    assert exploration["verdict of this run"] == "not shown"
    assert reported() == before
    with open_published(study.settings) as connection:
        names = connection.execute("SELECT protocol_name FROM research.protocols").fetchall()
    assert {"all protocols", *(name for (name,) in names)} == before.keys()


def test_a_row_is_made_where_the_app_has_a_word_for_it_and_only_there(study: Study) -> None:
    row_id = row_of(shown(study.run("background_music", CHANGES), CHANGES))
    row = study.row(row_id)

    assert (row["analysisType"], row["status"], row["protocolId"]) == (
        "CHANGE_POINT_DETECTION", "COMPLETED", IDS["background_music"]
    )  # fmt: skip
    assert len(row_id) == 25
    assert row["inputParams"]["outcome"] == "sessionPerformanceScore"
    assert row["completedAt"] >= row["startedAt"]
    entries = shown(study.run("background_music", ITS), ITS)
    assert row_of(entries) == "none"
    assert entries["row in the app"].startswith("none: the app's AnalysisType has no value for this analysis")


def test_an_analysis_that_cannot_be_done_fails_everywhere(study: Study) -> None:
    (request,) = study.ask(
        'UPDATE analysis_runs SET "inputParams" = \'{"outcome": "eventType"}\' '
        "WHERE \"protocolId\" = %s AND status = 'PENDING' RETURNING id",
        IDS["background_music"],
    )
    result = study.run("background_music", ABAB, analysis_run_id=request["id"])

    assert not result.success
    assert "'eventType' is no outcome" in failure(result)
    row = study.row(request["id"])
    assert row["status"] == "FAILED"
    assert "'eventType' is no outcome" in row["errorMessage"]
    again = study.run("background_music", ABAB, analysis_run_id=request["id"])
    assert "is FAILED, not PENDING" in failure(again)
    assert study.row(request["id"])["status"] == "FAILED"


@pytest.mark.skipif(find_spec("pymc") is not None, reason="PyMC is installed here")
def test_a_bayesian_request_without_the_extra_fails(study: Study) -> None:
    (request,) = study.ask(
        "UPDATE analysis_runs SET \"analysisType\" = 'BAYESIAN_ITS' WHERE \"protocolId\" = %s AND status = 'PENDING' "
        "RETURNING id",
        IDS["interleaved_practice"],
    )
    result = study.run("interleaved_practice", ITS, method="bayesian", analysis_run_id=request["id"])

    assert "needs PyMC" in failure(result)
    row = study.row(request["id"])
    assert row["status"] == "FAILED"
    assert "needs PyMC" in row["errorMessage"]
    assert "regression" not in json.dumps(row["resultsSummary"])


def test_the_warehouse_is_opened_read_only(study: Study) -> None:
    with (
        dg.build_resources({"warehouse": WarehouseResource(settings=study.settings)}) as resources,
        resources.warehouse.reading() as (connection, document),
    ):
        assert document.snapshot_id
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("CREATE TABLE meta.mine (x INTEGER)")


def test_partitions_follow_the_protocols(runner: Callable[..., Runner], prisma: Database) -> None:
    synced = runner(**prisma.variables())
    assert synced.run().success
    assert partitions(synced.instance) == ["protocol_0", "protocol_1"]

    prisma.execute("DELETE FROM experiment_protocols WHERE id = 'protocol_0'")
    assert synced.run().success
    assert partitions(synced.instance) == ["protocol_1"]
    synced.instance.delete_dynamic_partition("protocols", "protocol_1")
    assert synced.run().success  # nothing new is published, and yet
    assert partitions(synced.instance) == ["protocol_1"]


@pytest.mark.slow
def test_a_row_without_an_app_is_recorded_and_not_taken(
    settings_for: Callable[..., Settings], prisma: Database
) -> None:
    settings = settings_for(**prisma.variables())
    with dg.DagsterInstance.ephemeral() as instance:
        assert Runner(settings, instance).run().success
        job = build_defs(settings).resolve_job_def(ANALYSES)
        result = job.execute_in_process(
            instance=instance,
            partition_key="protocol_1",
            asset_selection=[dg.AssetKey(["analysis", CHANGES])],
            run_config={"ops": {f"analysis__{CHANGES}": {"config": {"analysis_run_id": "run_0"}}}},
        )
    entries = shown(result, CHANGES)
    assert row_of(entries) == "run_0"
    assert entries["row in the app"].endswith(": no app is configured (ANALYSIS_RUNS_DATABASE_URL)")
    assert prisma.execute("SELECT status FROM analysis_runs WHERE id = 'run_0'") == [("PENDING",)]


def test_every_kind_has_an_asset(study: Study) -> None:
    assets = build_defs(study.settings).resolve_asset_graph()
    assert {dg.AssetKey(["analysis", name]) for name in KINDS} <= set(assets.get_all_asset_keys())


@pytest.mark.slow
def test_what_launched_an_analysis_is_recorded(study: Study) -> None:
    def actors(launched: Iterable[Launched]) -> set[str]:
        return {record_of(study, analysis.sha256).identity.actor for analysis in launched if analysis.sha256}

    by_hand = sha256_of(shown(study.run("phone_on_the_desk", CHANGES), CHANGES))
    again = dg.DagsterRun(ANALYSES, tags={COMMAND_TAG: "americano analyse"}, parent_run_id="r1", root_run_id="r1")

    assert record_of(study, by_hand).identity.actor == "a person, in the UI or by a command of Dagster's"
    ids = [IDS["phone_on_the_desk"]]
    assert actors(run_analyses(study.settings, ids, [CHANGES], command="americano analyse")) == {"americano analyse"}
    assert actors(run_requests(study.settings, command="a command")) == {"a command"}
    assert actor(again) == "a person, who had Dagster run r1 executed again"


@pytest.mark.slow
def test_a_record_that_was_removed_or_changed_makes_no_second_first_time(study: Study) -> None:
    entries = shown(study.run("interleaved_practice", ABAB))
    path = study.settings.paths.records / f"{sha256_of(entries)}.json"
    content = path.read_bytes()
    path.unlink()
    assert "it is not the first of its kind" in own_result(shown(study.run("interleaved_practice", ABAB)))

    path.write_bytes(content + b" ")
    try:
        doubt = shown(study.run("interleaved_practice", ABAB))
        assert "1 record in the archive was changed, and may be of an earlier run" in own_result(doubt)
    finally:
        path.write_bytes(content)


@pytest.mark.slow
def test_what_died_before_its_record_is_counted_and_takes_nothing(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = int(shown(study.run("phone_on_the_desk", ABAB))["earlier analyses"])
    kept = len(list(study.settings.paths.records.glob("*.json")))
    with monkeypatch.context() as patch:
        # After the record is kept, before its hash is anywhere.
        patch.setattr(AnalysisRun, "log_dataset", lambda *_, **__: 1 / 0)
        for _ in range(2):
            assert not study.run("phone_on_the_desk", ABAB).success
    assert len(list(study.settings.paths.records.glob("*.json"))) == kept + 2

    entries = shown(study.run("phone_on_the_desk", ABAB))

    assert int(entries["earlier analyses"]) == before + 1
    assert "2 further runs failed before they were recorded" in own_result(entries)
