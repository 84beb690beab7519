"""`americano purge`: what analyses kept of an erased learner is gone from the archive, MLflow's files and Dagster's."""

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType
from sqlalchemy import Engine, event

from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.job_names import ANALYSES
from americano_pipelines.erasure.extracts import Extracts
from americano_pipelines.erasure.learner import identify
from americano_pipelines.erasure.store import ErasureAction
from americano_pipelines.provenance.archive import put, records
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, Done, free_port
from americano_pipelines_tests.mlflow_server import MlflowServer

Cli = Callable[..., Done]
LEARNER, PROTOCOL, OTHER = "learner_1", "protocol_1", "protocol_0"
KINDS = ("abab_randomization", "interrupted_time_series")
STAY = {"provenance/record.json", "provenance/requirements.lock", "provenance/diff.patch"}


@pytest.fixture(autouse=True)
def _deleted_rows_stay_in_free_pages() -> Iterator[None]:
    """As in sqlite's own default; some systems build it so that it overwrites them."""

    def set_default(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA secure_delete = OFF")

    event.listen(Engine, "connect", set_default)
    yield
    event.remove(Engine, "connect", set_default)


@pytest.fixture
def app(prisma: Database) -> Database:
    """Four phases of 14 days, as they were planned; scores that are one learner's and found again wherever they are."""
    prisma.execute("UPDATE experiment_protocols SET \"endDate\" = '2025-03-07'")
    prisma.execute(
        'ALTER TABLE behavioral_events ALTER "sessionPerformanceScore" TYPE double precision; '
        'UPDATE behavioral_events SET "sessionPerformanceScore" = "sessionPerformanceScore" + '
        'sqrt(2 + right("userId", 1)::integer) / 10'
    )
    return prisma


def erase(app: Database) -> None:
    """Erase the learner in the app."""
    for statement in (
        f"DELETE FROM analysis_runs WHERE \"protocolId\" = '{PROTOCOL}'",
        f"DELETE FROM phase_assignments WHERE \"protocolId\" = '{PROTOCOL}'",
        f"DELETE FROM experiment_protocols WHERE id = '{PROTOCOL}'",
        f"DELETE FROM behavioral_events WHERE \"userId\" = '{LEARNER}'",
    ):
        app.execute(statement)


def analyse(settings: Settings, protocol_id: str, *kinds: str) -> dg.ExecuteInProcessResult:
    """Run analyses of a protocol on the data folder's own instance."""
    with open_instance(settings) as instance:
        job = build_defs(settings).resolve_job_def(ANALYSES)
        return job.execute_in_process(
            instance=instance,
            partition_key=protocol_id,
            asset_selection=[dg.AssetKey(["analysis", kind]) for kind in kinds],
            raise_on_error=False,
        )


def of(settings: Settings, protocol_id: str) -> list[tuple[str, Record]]:
    return [
        (sha256, record) for sha256, record in records(settings.paths) if record.identity.protocol_id == protocol_id
    ]


def artifacts(root: Path, record: Record) -> dict[str, bytes]:
    """What lies among the artifacts of a record's run."""
    folder = next(root.rglob(f"{record.tracking['run_id']}/artifacts"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def traces(files: dict[str, bytes]) -> set[bytes]:
    """What would tell a learner's days: their values as they are written, and their pictures as the UI has them."""
    extract = json.loads(files["provenance/extract.json"])
    values = {repr(value).encode() for value in extract["values"] if value is not None}
    days = {cell.encode() for line in files["daily.csv"].decode().splitlines() for cell in line.split(",")}
    pictures = {base64.b64encode(content)[600:660] for name, content in files.items() if name.endswith(".png")}
    assert pictures
    return {trace for trace in values | days | pictures if len(trace) > 12 and b"-" not in trace[:5]}


def holding(folder: Path, words: set[bytes]) -> dict[str, list[bytes]]:
    """Files with any of the words in their bytes, records left out."""
    files = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.parent.name != "provenance":
            content = path.read_bytes()
            if those := [word for word in words if word in content]:
                files[str(path.relative_to(folder))] = those[:3]
    return files


@pytest.mark.slow
def test_of_an_erased_learner_only_the_records_stay(
    app: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = app.variables()
    settings = settings_for(**values)
    assert cli("sync", "--json", **values).code == 0
    assert analyse(settings, PROTOCOL, *KINDS).success
    assert analyse(settings, OTHER, KINDS[0]).success
    root = settings.paths.root / "mlflow"
    theirs, others = [record for _, record in of(settings, PROTOCOL)], [record for _, record in of(settings, OTHER)]
    words = {LEARNER.encode(), pseudonym(settings, LEARNER).encode()}
    # What the other learner's days hold too, such as a date, tells nobody's.
    words |= set.union(*(traces(artifacts(root, record)) for record in theirs)) - traces(artifacts(root, others[0]))
    kept_of_other = artifacts(root, others[0])
    with open_instance(settings) as instance:
        # As the daemon captures it of a run that the UI launched: the sentence goes to standard error.
        log_key = [str(theirs[0].orchestrator["dagster_run_id"]), "compute_logs", "step"]
        with instance.compute_log_manager.open_log_stream(log_key, ComputeIOType.STDERR) as stream:
            assert stream is not None
            stream.write(pseudonym(settings, LEARNER))  # type: ignore[call-overload]  # opened for text
    before = holding(settings.paths.root, words)
    assert any("dagster_home/history/runs/index.db" in path for path in before), (
        "the test looks where there was something"
    )
    erase(app)

    dry = cli("purge", "--learner", LEARNER, "--dry-run", "--json", **values)
    assert dry.code == 0, dry.err
    assert {item["kind"] for item in dry.json["found"]} == {"extract", "MLflow run", "Dagster run", "Dagster asset"}
    assert dry.json["removed"] == []
    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 0, done.err
    report = done.json
    assert {item["what"] for item in report["found"]} == set(report["removed"])
    (extract,) = [item for item in report["found"] if item["kind"] == "extract"]
    assert extract["what"] == theirs[0].extract_sha256
    assert f"(protocol {PROTOCOL})" in extract["reason"]
    assert {item["what"] for item in report["found"] if item["kind"] == "MLflow run"} == {
        record.tracking["run_id"] for record in theirs
    }
    after = holding(settings.paths.root, words)
    assert after == {}
    # What is not theirs stays.
    assert artifacts(root, others[0]) == kept_of_other
    assert {path.stem for path in settings.paths.extracts.glob("*.json")} == {others[0].extract_sha256}
    for record in theirs:
        assert set(artifacts(root, record)) <= STAY
        assert "provenance/record.json" in artifacts(root, record)
    assert len(of(settings, PROTOCOL)) == 2
    card = json.loads((settings.paths.extracts / "purged" / f"{theirs[0].extract_sha256}.json").read_text())
    assert card.keys() == {"extract_sha256", "protocol_id", "reason", "purged_at"}
    check_dagster(settings, theirs[0], others[0])

    verified = cli("verify", of(settings, PROTOCOL)[0][0], **values)
    assert verified.code == 0, verified.out
    assert "MISSING" not in verified.out
    again = cli("purge", "--learner", LEARNER, "--json", **values)
    assert (again.code, again.json["found"]) == (0, []), again.err


@pytest.mark.slow
def test_a_server_that_did_not_answer_is_cleaned_by_the_next_purge(
    app: Database, cli: Cli, settings_for: Callable[..., Settings], mlflow_server: MlflowServer
) -> None:
    values = app.variables(mlflow_tracking_uri=mlflow_server.url, mlflow_experiment_name="purged")
    settings = settings_for(**values)
    cli("sync", "--json", **values)
    assert analyse(settings, PROTOCOL, KINDS[0]).success
    ((_, record),) = of(settings, PROTOCOL)
    erase(app)
    nobody = app.variables(mlflow_tracking_uri=f"http://127.0.0.1:{free_port()}", mlflow_experiment_name="purged")

    first = cli("purge", "--learner", LEARNER, "--json", **nobody)

    assert first.code == 1
    assert "what MLflow runs have was not looked at: MLFLOW_TRACKING_URI" in first.err
    assert not list(settings.paths.extracts.glob("*.json")), "what could be done is done"
    assert "daily.csv" in artifacts(mlflow_server.artifacts, record)

    second = cli("purge", "--learner", LEARNER, "--json", **values)

    assert second.code == 0, second.err
    assert record.tracking["run_id"] in second.json["removed"]
    assert set(artifacts(mlflow_server.artifacts, record)) <= STAY
    assert "provenance/record.json" in artifacts(mlflow_server.artifacts, record)


@pytest.mark.slow
def test_runs_without_record_are_judged_by_their_uploaded_extract(
    app: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = app.variables()
    settings = settings_for(**values)
    cli("sync", "--json", **values)
    in_the_way = settings.paths.extracts
    in_the_way.write_text("no folder")
    failed = {protocol_id: analyse(settings, protocol_id, KINDS[0]) for protocol_id in (PROTOCOL, OTHER)}
    in_the_way.unlink()
    assert not any(result.success for result in failed.values())
    erase(app)

    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 0, done.err
    (run,) = [item for item in done.json["found"] if item["kind"] == "MLflow run"]
    assert "holds the learner's events" in run["reason"]
    left = {path.parent.parent.parent.name for path in settings.paths.root.rglob("provenance/extract.json")}
    assert len(left) == 1
    assert run["what"] not in left
    with open_instance(settings) as instance:
        runs = {protocol_id: instance.get_run_by_id(result.run_id) for protocol_id, result in failed.items()}
    assert runs[PROTOCOL] is None
    assert runs[OTHER] is not None


def test_while_the_source_has_the_learner_their_extracts_stay(
    app: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = app.variables()
    settings = settings_for(**values)
    kept, _ = put(settings.paths.extracts, extract_of(settings, LEARNER))

    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 1
    assert [item["what"] for item in done.json["found"] if item["kind"] == "extract"] == [kept.stem]
    assert done.json["removed"] == []
    assert kept.exists()


def extract_of(settings: Settings, learner: str, protocol_id: str = "p") -> bytes:
    """An extract as far as it says whose it is."""
    return json.dumps(
        {"protocol": {"learner": pseudonym(settings, learner), "protocol_id": protocol_id}}, sort_keys=True
    ).encode()


def test_extracts_of_the_learner_or_of_unknown_owner_go(
    settings_for: Callable[..., Settings],
) -> None:
    settings = settings_for()
    folder = settings.paths.extracts
    uuid = "0B5F1C9E-7A4B-4D0E-9C7A-2D4F6A8B0C1D"
    theirs, _ = put(folder, extract_of(settings, uuid.lower()))
    among, _ = put(folder, json.dumps({"learners": ["x", pseudonym(settings, uuid)], "rows": []}).encode())
    others, _ = put(folder, extract_of(settings, "somebody"))
    silent, _ = put(folder, json.dumps({"rows": [[1.5]]}).encode())
    damaged, _ = put(folder, extract_of(settings, "damaged"))
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:20])
    aside = folder / f".{'a' * 64}.4711"
    aside.write_bytes(b'{"protocol": {"lear')

    store = Extracts(settings)
    items = {item.path: item for item in store.find(identify(settings.paths, uuid, {}))}

    assert items.keys() == {theirs, among, silent, damaged, aside}
    assert {path for path, item in items.items() if item.names_learner} == {theirs, among}
    assert items[theirs].protocol_id == "p"
    assert "is damaged" in items[damaged].reason
    assert "does not say whose events it holds" in items[silent].reason
    assert store.remove(list(items.values())) == []
    assert [path for path in folder.iterdir() if path.is_file()] == [others]
    cards = {path.stem: path.read_text() for path in (folder / "purged").iterdir()}
    assert cards.keys() == {path.stem for path in (theirs, among, silent, damaged)}
    assert not any(name in card for card in cards.values() for name in (pseudonym(settings, uuid.lower()), uuid))
    assert store.find(identify(settings.paths, uuid, {})) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}"])
def test_a_card_that_cannot_be_read_is_named(settings_for: Callable[..., Settings], content: bytes) -> None:
    settings = settings_for()
    card = settings.paths.extracts / "purged" / f"{'a' * 64}.json"
    card.parent.mkdir(parents=True)
    card.write_bytes(content)

    (item,) = Extracts(settings).find(identify(settings.paths, LEARNER, {}))

    assert item.action is ErasureAction.CANNOT_REMOVE
    assert item.reason.startswith(f"{card} is no card of a purged extract")


@pytest.mark.slow
def test_the_input_of_a_training_goes_unless_its_snapshot_is_clean(
    app: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = app.variables()
    settings = settings_for(**values)
    cli("sync", "--json", **values)
    train(settings)
    (before,) = settings.paths.extracts.glob("*.json")
    erase(app)

    first = cli("purge", "--learner", LEARNER, "--json", **values)

    assert first.code == 0, first.err
    assert before.stem in first.json["removed"]
    assert not before.exists()
    assert any(
        text.startswith("model americano_high_performance version 1 was trained") for text in first.json["remains"]
    )
    train(settings)
    (after,) = settings.paths.extracts.glob("*.json")
    second = cli("purge", "--learner", LEARNER, "--json", **values)
    assert (second.code, second.json["found"]) == (0, []), second.err
    assert after.exists()


def train(settings: Settings) -> None:
    """Run the training demo on the data folder's own instance."""
    with open_instance(settings) as instance:
        job = build_defs(settings).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["analysis", "training_demo"])], raise_on_error=False
        )
    assert result.success


def check_dagster(settings: Settings, theirs: Record, others: Record) -> None:
    """Their run is gone, and of each asset the other's materialization is the latest, if there is one."""
    with open_instance(settings) as instance:
        assert instance.get_run_by_id(str(theirs.orchestrator["dagster_run_id"])) is None
        key = dg.AssetKey(["analysis", KINDS[0]])
        (left,) = instance.fetch_materializations(key, limit=10).records
        assert left.partition_key == OTHER
        latest = instance.get_latest_materialization_event(key)
        assert latest is not None
        assert latest.run_id == others.orchestrator["dagster_run_id"]
        assert instance.get_latest_materialization_event(dg.AssetKey(["analysis", KINDS[1]])) is None
