"""Where runs are recorded: the default, any server, and what is said when it does not answer."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.analysis_run import analysis_run
from americano_pipelines.mlflow_store.artifacts import find_run
from americano_pipelines.mlflow_store.client import open_store, open_store_to_read, try_writing
from americano_pipelines.mlflow_store.registered_models import process_tracking_uri
from americano_pipelines.mlflow_store.runs import end, get_or_create_parent_run, search
from americano_pipelines.mlflow_store.tracking_errors import CLIENT_ENVIRONMENT, creation_lock
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import environment, file_hashes, free_port
from americano_pipelines_tests.mlflow_server import MlflowServer
from americano_pipelines_tests.silent_server import SilentServer, silent_server


@pytest.fixture(autouse=True)
def _own_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CLIENT_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with silent_server() as server:
        yield server


def test_by_default_records_and_artifacts_lie_under_the_data_folder(
    settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_for()
    store = open_store(settings)
    parent = get_or_create_parent_run(store, settings, "a-dagster-run", "nightly", {})
    file = tmp_path / "page.html"
    file.write_text("<p>")

    with analysis_run(store, parent, "one", {}) as run:
        run.log_artifact(file)
    end(store, parent, "FINISHED")

    assert (settings.paths.root / "mlflow" / "mlflow.db").is_file()
    kept = list((settings.paths.root / "mlflow" / "artifacts").rglob("page.html"))
    assert [path.read_text() for path in kept] == ["<p>"]
    assert run.url is None
    assert store.client.get_experiment(store.experiment_id).name == "Americano/Research"
    assert open_store(settings).experiment_id == store.experiment_id


def test_a_server_that_refuses_is_named_with_what_to_do(settings_for: Callable[..., Settings]) -> None:
    port = free_port()

    with pytest.raises(TrackingError) as refused:
        open_store(settings_for(mlflow_tracking_uri=f"http://tracker:s3cret@127.0.0.1:{port}"))

    text = str(refused.value)
    assert text.startswith(f"MLFLOW_TRACKING_URI=http://***@127.0.0.1:{port} cannot be written to: ")
    assert "Is the server running" in text
    assert "s3cret" not in text


def test_a_server_that_never_answers_is_asked_twice_and_given_up(
    settings_for: Callable[..., Settings], silent: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")

    with pytest.raises(TrackingError, match=r"MLFLOW_TRACKING_URI=.* timeout"):
        open_store(settings_for(mlflow_tracking_uri=silent.url))

    assert len(silent.connections) == 2
    # What somebody set themselves is left; the rest is ours, and twice the time and a pause is below 20 s.
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "1"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert 2 * int(CLIENT_ENVIRONMENT["MLFLOW_HTTP_REQUEST_TIMEOUT"]) + 3 < 20


def test_a_reader_creates_nothing(settings_for: Callable[..., Settings], empty_store: Path, tmp_path: Path) -> None:
    settings = settings_for()
    store = open_store_to_read(settings)

    assert search(store, store.experiment_id, "tags.service = 'any'") == []
    assert find_run(store, "0" * 32) is None
    assert not settings.paths.root.exists()

    (settings.paths.root / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, settings.paths.root / "mlflow" / "mlflow.db")
    before = file_hashes(tmp_path)
    store = open_store_to_read(settings)
    try_writing(store)

    assert store.experiment_id == ""
    with pytest.raises(TrackingError, match="readonly database"):
        store.call(store.client.create_experiment, "mine")
    assert file_hashes(tmp_path) == before


def test_a_reader_of_a_server_s_database_changes_nothing_in_it(
    settings_for: Callable[..., Settings], mlflow_server: MlflowServer
) -> None:
    settings = settings_for(mlflow_tracking_uri=mlflow_server.database_uri, mlflow_experiment_name="none yet")
    store = open_store_to_read(settings)

    try_writing(store)
    with pytest.raises(TrackingError, match="read-only transaction"):
        store.call(store.client.create_experiment, "none yet")

    assert store.experiment_id == ""


def test_nobody_stands_behind_another_that_waits_for_a_silent_server(
    settings_for: Callable[..., Settings], silent: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr("americano_pipelines.mlflow_store.tracking_errors._LOCK_SECONDS", 0.2)
    settings = settings_for(mlflow_tracking_uri=silent.url)

    with creation_lock(settings), pytest.raises(TrackingError, match="timeout"):
        open_store(settings)

    assert len(silent.connections) == 2


def test_a_database_that_refuses_is_tried_once(
    settings_for: Callable[..., Settings], capfd: pytest.CaptureFixture[str]
) -> None:
    address = f"postgresql+psycopg2://tracker:s3cret@127.0.0.1:{free_port()}/americano_mlflow"

    with pytest.raises(TrackingError, match=r"MLFLOW_TRACKING_URI=postgresql\+psycopg2://\*\*\*@.*onnection refused"):
        open_store(settings_for(mlflow_tracking_uri=address))

    assert "retried" not in "".join(capfd.readouterr())


def test_a_folder_that_cannot_be_is_told(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    settings.paths.root.mkdir()
    (settings.paths.root / "mlflow").write_text("a file where the folder belongs")

    with pytest.raises(TrackingError, match=r"MLFLOW_TRACKING_URI=sqlite:.*File exists"):
        open_store(settings)


def test_a_deleted_experiment_is_not_written_to(settings_for: Callable[..., Settings]) -> None:
    store = open_store(settings_for())
    store.client.delete_experiment(store.experiment_id)

    with pytest.raises(TrackingError, match="MLFLOW_EXPERIMENT_NAME: the experiment 'Americano/Research' was deleted"):
        open_store(settings_for())


def test_who_waits_for_a_waiting_process_gives_up_too(
    settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("americano_pipelines.mlflow_store.tracking_errors._LOCK_SECONDS", 0.2)
    settings = settings_for()

    with (
        creation_lock(settings),
        pytest.raises(TrackingError, match="another process has been busy with MLFLOW_TRACKING_URI"),
        creation_lock(settings),
    ):
        pass


PARENT = """
import sys
from americano_pipelines.settings import load_settings
from americano_pipelines.mlflow_store.runs import get_or_create_parent_run
from americano_pipelines.mlflow_store.client import open_store
settings = load_settings()
store = open_store(settings)
print(get_or_create_parent_run(store, settings, "a-dagster-run", "job", {}))
"""


@pytest.mark.slow
def test_two_processes_at_once_make_one_store_and_one_run(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PARENT], env=environment(settings.paths.root), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]

    outputs = [process.communicate(timeout=120)[0].strip() for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1] != ""


def test_the_process_s_own_address_changes_nothing(
    settings_for: Callable[..., Settings], mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    settings = settings_for()
    with process_tracking_uri(mlflow_server.url):
        store = open_store(settings)
        run_id = store.client.create_run(store.experiment_id).info.run_id

    assert (tmp_path / "data" / "mlflow" / "mlflow.db").is_file()
    assert store.client.get_run(run_id).info.artifact_uri.startswith(tmp_path.as_uri())
