"""What is logged to an analysis's run, and how it ends; on a real server."""

import getpass
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.analysis_run import analysis_run
from americano_pipelines.mlflow_store.client import Store, open_store
from americano_pipelines.mlflow_store.runs import PARENT_TAG, get_or_create_parent_run, set_final_statuses
from americano_pipelines.settings import Settings
from americano_pipelines_tests.mlflow_server import MlflowServer


def status(store: Store, run_id: str) -> str:
    return str(store.client.get_run(run_id).info.status)


def test_everything_that_is_logged_arrives(store: Store, parent: str, tmp_path: Path) -> None:
    file = tmp_path / "plot.png"
    file.write_bytes(b"\x89PNG")
    params = {f"parameter {number}": number for number in range(250)}

    with analysis_run(store, parent, "everything", {"git.dirty": True, "data.sha256": None}) as run:
        run.log_params({**params, "seed": None})
        run.log_metrics({"p": 0.03125, "undefined": None})
        run.log_series("loss", [0.9, None, 0.4])
        run.set_tags({"provenance.sha256": "ab" * 32})
        run.log_artifact(file, "plots")
        run.describe("Scores rose by 2.1 points.", commit="c0ffee")
        run.log_dataset("extract", "ef" * 32, source="extracts/ef.json")
        assert status(store, run.run_id) == "RUNNING"

    logged = store.client.get_run(run.run_id)
    assert logged.data.params == {name: str(value) for name, value in params.items()} | {"seed": "None"}
    assert logged.data.metrics == {"p": 0.03125, "loss": 0.4}
    history = store.client.get_metric_history(run.run_id, "loss")
    assert sorted((point.step, point.value) for point in history) == [(0, 0.9), (2, 0.4)]
    tags = logged.data.tags
    assert (tags["git.dirty"], tags["data.sha256"], tags["provenance.sha256"]) == ("true", "unknown", "ab" * 32)
    assert (tags[PARENT_TAG], logged.info.run_name) == (parent, "everything")
    assert (tags["mlflow.note.content"], tags["mlflow.source.git.commit"]) == ("Scores rose by 2.1 points.", "c0ffee")
    assert (tags["mlflow.user"], tags["mlflow.source.type"]) == (getpass.getuser(), "LOCAL")
    (used,) = logged.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest, used.dataset.source) == ("extract", "ef" * 18, "extracts/ef.json")
    assert [entry.path for entry in store.client.list_artifacts(run.run_id, "plots")] == ["plots/plot.png"]
    assert logged.info.status == "FINISHED"


def test_a_thousand_and_more_points_go_in_batches(store: Store, parent: str) -> None:
    with analysis_run(store, parent, "long", {}) as run:
        run.log_series("value", [float(number) for number in range(1205)])

    assert len(store.client.get_metric_history(run.run_id, "value")) == 1205


@pytest.mark.parametrize(
    ("error", "expected"), [(ValueError, "FAILED"), (SystemExit, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_it_ends_as_its_block_did(store: Store, parent: str, error: type[BaseException], expected: str) -> None:
    with pytest.raises(error), analysis_run(store, parent, "ends", {}) as run:
        raise error

    assert status(store, run.run_id) == expected
    assert status(store, parent) == "RUNNING"


def test_what_mlflow_would_cut_is_refused(store: Store, parent: str) -> None:
    with analysis_run(store, parent, "at the limit", {"tag": "t" * 8000}) as run:
        run.log_params({"longest": "p" * 6000})
        with pytest.raises(TrackingError, match=r"parameter 'longer' has 6001 characters.* as an artifact"):
            run.log_params({"longer": "p" * 6001})
        with pytest.raises(TrackingError, match=r"tag 'longer' has 8001 characters"):
            run.set_tags({"longer": "t" * 8001})
        with pytest.raises(TrackingError, match="metric 'p' is not finite"):
            run.log_metrics({"p": float("nan")})

    data = store.client.get_run(run.run_id).data
    assert data.params == {"longest": "p" * 6000}
    assert data.tags["tag"] == "t" * 8000
    assert data.metrics == {}


def test_a_refusal_ends_it_as_failed(store: Store, parent: str) -> None:
    with (  # noqa: PT012 - the second call is the one that is refused
        pytest.raises(TrackingError, match="seed"),
        analysis_run(store, parent, "twice", {}) as run,
    ):
        run.log_params({"seed": 1})
        run.log_params({"seed": 2})

    assert status(store, run.run_id) == "FAILED"


def test_an_upload_that_does_not_arrive_ends_it_as_failed(
    store: Store, parent: str, mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    file = tmp_path / "result.json"
    file.write_text("{}")

    with (  # noqa: PT012 - the folder is known only inside
        pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"),
        analysis_run(store, parent, "up", {}) as run,
    ):
        folder = mlflow_server.artifacts / store.experiment_id / run.run_id
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.write_text("where the run's artifacts belong")
        run.log_artifact(file)

    assert status(store, run.run_id) == "FAILED"


def test_an_upload_into_a_folder_that_cannot_be_fails_too(
    settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_for()
    local = open_store(settings)
    shutil.rmtree(settings.paths.root / "mlflow" / "artifacts", ignore_errors=True)
    file = tmp_path / "result.json"
    file.write_text("{}")

    with (  # noqa: PT012 - the folder is known only inside
        pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"),
        analysis_run(local, "no-parent", "up", {}) as run,
    ):
        (settings.paths.root / "mlflow" / "artifacts").write_text("a file where the folder belongs")
        run.log_artifact(file)

    assert status(local, run.run_id) == "FAILED"


def test_a_server_that_stops_answering_is_told_once_and_settled_later(
    store: Store, settings: Settings, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    parent = get_or_create_parent_run(store, settings, "silent", "job", {})
    try:
        with (  # noqa: PT012 - it stops inside
            pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"),
            analysis_run(store, parent, "silent", {}) as run,
        ):
            mlflow_server.signal(signal.SIGSTOP)
            run.log_metrics({"p": 0.5})
    finally:
        mlflow_server.signal(signal.SIGCONT)

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    # The server may take the end of the analysis when it goes on: it was sent, and answered too late.
    assert status(store, parent) == "RUNNING"
    assert parent in set_final_statuses(store, store.experiment_id, "silent", "FAILED")
    assert status(store, run.run_id) == status(store, parent) == "FAILED"


@pytest.mark.slow  # a server starts
def test_a_server_that_goes_away_is_told_once_and_settled_when_it_is_back(
    store: Store, settings: Settings, mlflow_server: MlflowServer
) -> None:
    parent = get_or_create_parent_run(store, settings, "gone", "job", {})
    try:
        with (  # noqa: PT012 - it goes inside
            pytest.raises(TrackingError, match=r"MLFLOW_TRACKING_URI=.*Is the server running"),
            analysis_run(store, parent, "gone", {}) as run,
        ):
            mlflow_server.stop()
            run.log_metrics({"p": 0.5})
    finally:
        mlflow_server.start()

    assert status(store, run.run_id) == status(store, parent) == "RUNNING"
    assert set(set_final_statuses(store, store.experiment_id, "gone", "FAILED")) == {parent, run.run_id}
    assert status(store, run.run_id) == status(store, parent) == "FAILED"


def test_settling_puts_the_outer_run_right_and_leaves_what_ended_by_itself(
    store: Store, parent: str, request: pytest.FixtureRequest
) -> None:
    with analysis_run(store, parent, "done", {}) as done:
        pass
    with analysis_run(store, parent, "killed", {}) as killed:
        pass
    store.client.update_run(killed.run_id, status="RUNNING")
    store.client.set_terminated(parent, "FINISHED")

    changed = set_final_statuses(store, store.experiment_id, request.node.name, "KILLED")

    assert set(changed) == {parent, killed.run_id}
    assert [status(store, run) for run in (parent, done.run_id, killed.run_id)] == ["KILLED", "FINISHED", "KILLED"]
    assert set_final_statuses(store, store.experiment_id, request.node.name, "KILLED") == []


def test_the_outer_run_is_made_once_and_says_what_is_unknown(
    store: Store, settings: Settings, parent: str, request: pytest.FixtureRequest
) -> None:
    with analysis_run(store, parent, "nested", {"dagster_run_id": request.node.name}):
        again = get_or_create_parent_run(store, settings, request.node.name, "job", {})

    assert again == parent
    assert get_or_create_parent_run(store, settings, "another", "job", {}) != parent
    tags = store.client.get_run(parent).data.tags
    assert {name: tags[name] for name in ("service", "env", "dagster_run_id", "git.commit", "data.sha256")} == {
        "service": "americano_pipelines",
        "env": "development",
        "dagster_run_id": request.node.name,
        "git.commit": "unknown",
        "data.sha256": "unknown",
    }
