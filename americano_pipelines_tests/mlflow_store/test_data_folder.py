"""The default database after its data folder was copied or moved: refused until `americano relocate` was run."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.errors import LockHeldError, TrackingError
from americano_pipelines.mlflow_store.client import Store, open_store, open_store_to_read
from americano_pipelines.mlflow_store.data_folder import relocate, store_label
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.conftest import environment, file_hashes

RECORD = """
import sys, tempfile
from pathlib import Path
from americano_pipelines.settings import load_settings
from americano_pipelines.mlflow_store.analysis_run import analysis_run
from americano_pipelines.mlflow_store.client import open_store
store = open_store(load_settings())
with tempfile.TemporaryDirectory() as folder, analysis_run(store, "none", "one", {}) as run:
    page = Path(folder) / "page.html"
    page.write_text(sys.argv[1])
    run.log_artifact(page)
print(run.run_id)
"""
# Each in a process of its own: MLflow remembers in a process where it found the files of a run.
READ = """
import sys, tempfile
from pathlib import Path
from americano_pipelines.settings import load_settings
from americano_pipelines.mlflow_store.client import open_store
store = open_store(load_settings())
with tempfile.TemporaryDirectory() as folder:
    print(Path(store.client.download_artifacts(sys.argv[1], "page.html", folder)).read_text())
"""


def python(script: str, data_dir: Path, argument: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, argument],
        env=environment(data_dir),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pages(data_dir: Path) -> list[str]:
    return sorted(path.read_text() for path in (data_dir / "mlflow" / "artifacts").rglob("page.html"))


@pytest.fixture
def original(tmp_path: Path, empty_store: Path) -> Path:
    """A data folder whose name an address writes otherwise, and a database reads otherwise."""
    folder = tmp_path / "it_s mine, it's é"
    (folder / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, folder / "mlflow" / "mlflow.db")
    return folder


@pytest.mark.slow
def test_a_copy_that_was_relocated_reads_and_writes_its_own_files(original: Path, tmp_path: Path) -> None:
    run_id = python(RECORD, original, "first")
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    (page,) = copy.rglob("page.html")
    page.write_text("first, of the copy")
    assert relocate(load_settings(americano_data_dir=copy), dry_run=False)

    python(RECORD, copy, "second")

    assert pages(original) == ["first"]
    assert pages(copy) == ["first, of the copy", "second"]
    assert python(READ, copy, run_id) == "first, of the copy"
    assert python(READ, original, run_id) == "first"


@pytest.fixture
def moved(original: Path, tmp_path: Path) -> Settings:
    """The settings of a data folder that was moved after its experiment was made."""
    open_store(load_settings(americano_data_dir=original))
    return load_settings(americano_data_dir=original.rename(tmp_path / "moved"))


@pytest.mark.parametrize("opening", [open_store, open_store_to_read])
def test_a_moved_folder_is_refused_with_the_command_and_nothing_is_written(
    moved: Settings, opening: Callable[[Settings], Store]
) -> None:
    before = file_hashes(moved.paths.root)

    with pytest.raises(TrackingError, match=r"was moved or copied to .*moved.*Run `americano relocate` once"):
        opening(moved)

    assert file_hashes(moved.paths.root) == before


def test_models_and_their_versions_are_relocated_once(original: Path, tmp_path: Path) -> None:
    settings = load_settings(americano_data_dir=original)
    store = open_store(settings)
    model = store.client.create_logged_model(store.experiment_id, name="model")
    store.client.create_registered_model("effects")
    store.client.create_model_version("effects", model.artifact_location)
    store.client.create_registered_model("from elsewhere")
    store.client.create_model_version("from elsewhere", "s3://bucket/mlflow/artifacts/model")
    moved = load_settings(americano_data_dir=original.rename(tmp_path / "moved"))
    before = file_hashes(moved.paths.root)

    planned = relocate(moved, dry_run=True)
    assert file_hashes(moved.paths.root) == before
    with writer_lock(moved), pytest.raises(LockHeldError):
        relocate(moved, dry_run=False)
    assert relocate(moved, dry_run=False) == planned
    assert relocate(moved, dry_run=False) == []

    assert {(item.table, item.column): item.rows for item in planned} == {
        ("experiments", "artifact_location"): 1,
        ("logged_models", "artifact_location"): 1,
        ("model_versions", "source"): 1,
        ("model_versions", "storage_location"): 1,
    }
    client = open_store(moved).client
    expected = model.artifact_location.replace(original.as_uri(), moved.paths.root.as_uri())
    assert expected.startswith((tmp_path / "moved").as_uri())
    assert client.get_logged_model(model.model_id).artifact_location == expected
    assert client.get_model_version("effects", "1").source == expected
    assert client.get_model_version_download_uri("effects", "1") == expected
    assert client.get_model_version("from elsewhere", "1").source == "s3://bucket/mlflow/artifacts/model"


def test_places_that_people_gave_their_experiments_stay(original: Path, tmp_path: Path) -> None:
    settings = load_settings(americano_data_dir=original)
    client = open_store(settings).client
    places = {
        "theirs": (tmp_path / "big disk").as_uri(),
        "beside": f"{original.as_uri()}/mlflow/artifacts-of-mine",
        "in a bucket": "s3://bucket/mlflow/artifacts",
    }
    theirs = {name: client.create_experiment(name, artifact_location=at) for name, at in places.items()}
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)

    relocate(load_settings(americano_data_dir=copy), dry_run=False)
    client = open_store(load_settings(americano_data_dir=copy)).client

    assert {name: client.get_experiment(number).artifact_location for name, number in theirs.items()} == places


def test_a_database_that_the_variable_names_is_left_as_it_is(original: Path, tmp_path: Path) -> None:
    first = open_store(load_settings(americano_data_dir=original))
    before = first.client.get_experiment(first.experiment_id).artifact_location

    other = open_store(load_settings(americano_data_dir=tmp_path / "other", mlflow_tracking_uri=first.uri))

    assert other.client.get_experiment(other.experiment_id).artifact_location == before


def test_the_own_database_is_one_place_wherever_the_folder_stands(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()

    assert store_label(settings) == store_label(settings_for(americano_data_dir=settings.paths.root / "elsewhere"))
    assert store_label(settings_for(mlflow_tracking_uri=settings.tracking_uri)) == store_label(settings)
    assert store_label(settings_for(mlflow_tracking_uri="http://bob:s3cret@127.0.0.1:1/")) == "http://***@127.0.0.1:1"
