"""A registered model that is not the one that was recorded is found: its files, what its version gives."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.mlflow_store.registered_models import CANDIDATE, MODEL, RegisteredModel
from americano_pipelines.provenance.archive import put
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines.provenance.verify.findings import Status
from americano_pipelines.settings import load_settings
from americano_pipelines_tests.mlflow_server import MlflowServer
from americano_pipelines_tests.provenance.conftest import Lab, altered, faults, finding, run_id
from americano_pipelines_tests.provenance.verify.test_training import trained


@dataclass(frozen=True)
class Training:
    """A recorded training and its model."""

    recorded: Recorded
    registered: RegisteredModel


@pytest.fixture(scope="module")
def done(lab: Lab) -> Training:
    """One training, which every test leaves as it was."""
    performed = trained(lab)
    assert performed.registered is not None
    return Training(performed.recorded, performed.registered)


def version_of(done: Training) -> str:
    """What a finding calls its version."""
    return f"model {done.registered.name} version {done.registered.version}"


def file_of(done: Training, path: str) -> str:
    """What a finding calls a file of it."""
    return f"model {done.registered.model_id}: {path}"


def folder_of(artifacts: Path, done: Training) -> Path:
    """Where its files lie, below those of an experiment."""
    return artifacts / "models" / done.registered.model_id / "artifacts"


def artifacts_of(lab: Lab) -> Path:
    return lab.settings.paths.root / "mlflow" / "artifacts"


def test_every_file_and_the_version_are_looked_at(lab: Lab, done: Training) -> None:
    folder = folder_of(artifacts_of(lab), done)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    verification = lab.verify(run_id(done.recorded), again=True)

    assert faults(verification) == {}
    assert {"MLmodel", "model.skops"} <= files
    for what in (version_of(done), *(file_of(done, path) for path in files)):
        assert finding(verification, what).status is Status.MATCH


def test_files_replaced_and_removed(lab: Lab, done: Training) -> None:
    folder = folder_of(artifacts_of(lab), done)

    with altered(folder / "model.skops", b"tampered"), altered(folder / "requirements.txt", None):
        verification = lab.verify(run_id(done.recorded))

    assert faults(verification) == {
        file_of(done, "model.skops"): Status.DRIFT,
        file_of(done, "requirements.txt"): Status.MISSING,
    }


def test_what_mlflow_writes_beside_a_model_that_it_loads_is_no_fault(lab: Lab, done: Training) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(lab.store.uri)
    try:
        mlflow.pyfunc.load_model(f"models:/{done.registered.name}/{done.registered.version}")
    finally:
        mlflow.set_tracking_uri(before)

    verification = lab.verify(run_id(done.recorded))
    (folder_of(artifacts_of(lab), done) / "registered_model_meta").unlink()

    assert faults(verification) == {}
    assert finding(verification, file_of(done, "registered_model_meta")).status is Status.EXTRA


def test_the_candidate_moves_on(lab: Lab, done: Training) -> None:
    later = trained(lab)

    version = lab.store.client.get_model_version_by_alias(done.registered.name, CANDIDATE).version
    assert str(version) == later.registered.version != done.registered.version
    assert faults(lab.verify(run_id(done.recorded))) == {}
    assert faults(lab.verify(run_id(later.recorded))) == {}


@pytest.mark.parametrize("column", ["source", "storage_location"])
def test_a_version_that_gives_another_model(lab: Lab, done: Training, column: str) -> None:
    other = trained(lab).registered
    statement = f"UPDATE model_versions SET {column} = ? WHERE name = ? AND version = ?"
    key = (done.registered.name, done.registered.version)
    with closing(sqlite3.connect(lab.settings.paths.root / "mlflow" / "mlflow.db")) as database:
        select = f"SELECT {column} FROM model_versions WHERE name = ? AND version = ?"
        (before,), (others,) = (
            database.execute(select, (name, version)).fetchone() for name, version in (key, (key[0], other.version))
        )
        with database:
            database.execute(statement, (others, *key))
        verification = lab.verify(run_id(done.recorded))
        with database:
            database.execute(statement, (before, *key))

    assert faults(verification) == {version_of(done): Status.DRIFT}
    assert others in next(fault.detail for fault in verification.faults)


def test_a_version_and_a_model_that_are_gone(lab: Lab) -> None:
    first, second = trained(lab), trained(lab)
    client = lab.store.client
    client.delete_model_version(first.registered.name, first.registered.version)
    client.delete_logged_model(second.registered.model_id)

    assert faults(lab.verify(run_id(first.recorded))) == {version_of(first): Status.MISSING}
    assert faults(lab.verify(run_id(second.recorded))) == {f"model {second.registered.model_id}": Status.MISSING}


def test_a_record_from_before_files_were_hashed_can_be_verified(lab: Lab) -> None:
    done = trained(lab)
    record = done.recorded.record
    model = {name: value for name, value in done.registered.model_dump(mode="json").items() if name != "files"}
    older = record.model_copy(update={"results": {**record.results, MODEL: model}})
    put(lab.settings.paths.records, older.canonical())

    verification = lab.verify(older.sha256)

    assert finding(verification, f"model {done.registered.model_id}").status is Status.NOT_RECORDED
    assert finding(verification, version_of(done)).status is Status.MATCH


@pytest.mark.slow  # a server starts
def test_on_a_server_too(lab: Lab, mlflow_server: MlflowServer) -> None:
    values = lab.database.variables(mlflow_tracking_uri=mlflow_server.url)
    settings = load_settings(americano_data_dir=lab.settings.paths.root, log_level="WARNING", **values)
    served = Lab(settings, open_store(settings), lab.database)
    done, moved = trained(served), trained(served)
    folder = folder_of(mlflow_server.artifacts / served.store.experiment_id, done)

    assert faults(served.verify(run_id(done.recorded), again=True)) == {}
    with altered(folder / "model.skops", b"tampered"), altered(folder / "requirements.txt", None):
        assert faults(served.verify(run_id(done.recorded))) == {
            file_of(done, "model.skops"): Status.DRIFT,
            file_of(done, "requirements.txt"): Status.MISSING,
        }
    # Who may only ask the server can make the name anew and give its first version another model.
    client, name = served.store.client, done.registered.name
    client.delete_registered_model(name)
    assert faults(served.verify(run_id(done.recorded))) == {version_of(done): Status.MISSING}
    client.create_registered_model(name)
    version = client.create_model_version(name, moved.registered.source, model_id=moved.registered.model_id)
    assert str(version.version) == done.registered.version
    assert faults(served.verify(run_id(done.recorded))) == {version_of(done): Status.DRIFT}
    client.delete_logged_model(done.registered.model_id)
    assert faults(served.verify(run_id(done.recorded))) == {
        version_of(done): Status.DRIFT,
        f"model {done.registered.model_id}": Status.MISSING,
    }


def test_what_people_wrote_on_the_models_pages_is_listed(lab: Lab, done: Training) -> None:
    client, name, version = lab.store.client, done.registered.name, done.registered.version
    client.update_registered_model(name, "the best there is")
    client.update_model_version(name, version, "approved")
    client.set_model_version_tag(name, version, "stage", "live")
    try:
        verification = lab.verify(run_id(done.recorded))
    finally:
        client.update_registered_model(name, "")
        client.update_model_version(name, version, "")
        client.delete_model_version_tag(name, version, "stage")

    assert faults(verification) == {}
    extra = {item.what for item in verification.findings if item.status is Status.EXTRA}
    assert extra == {
        f"model {name}, description",
        f"{version_of(done)}, description",
        f"{version_of(done)}, tag stage",
    }
