"""Files are published while clients ask: no request fails, and no answer has rows of two files."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import httpx
import psutil
import pytest

from americano_pipelines.common import atomic_files
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines_tests.serving.conftest import Api
from americano_pipelines_tests.serving.published import publish_example

PATHS = ("/protocols", "/reports/daily", "/protocols/protocol-learner-1/events", "/analyses")
KEPT = 3


def publish_generation(settings: Settings, folder: Path, number: int) -> None:
    """Publish a copy of the current file in which every row says which file it is of."""
    path = snapshots.current(settings.paths)
    assert path is not None
    document = snapshots.record_beside(path)
    basis = folder / "copy.duckdb"
    basis.write_bytes(path.read_bytes())
    snapshot_id = atomic_files.new_id()
    with duckdb.connect(str(basis)) as connection:
        for statement in (
            f"UPDATE analytics.experiment_protocols SET \"protocolName\" = 'generation {number}'",
            f"UPDATE analytics.behavioral_events SET \"eventType\" = 'generation {number}'",
            f"UPDATE analytics.analysis_runs SET \"runName\" = 'generation {number}'",
            f"UPDATE research.daily_events SET events = {number}",
        ):
            connection.execute(statement)
    with snapshots.building(settings.paths, snapshot_id) as built:
        built.write_bytes(basis.read_bytes())
        instant = f"2026-01-01T00:00:00.{number:06}+00:00"
        fresh = SnapshotRecord.model_validate(
            document.model_dump() | {"snapshot_id": snapshot_id, "bytes": 0, "sha256": "", "instant": instant}
        )
        snapshots.publish(settings, built, fresh)


def generations(rows: list[dict[str, object]]) -> set[str]:
    """Which files the rows are of."""
    names = ("protocol_name", "event_type", "run_name")
    marks = {str(row[name]).removeprefix("generation ") for row in rows for name in names if name in row}
    return marks or {str(row["events"]) for row in rows}


def faults_of(answer: httpx.Response) -> list[str]:
    """What is wrong with an answer: it failed, or has rows of two files, or names another than it is of."""
    if answer.status_code != 200:
        return [f"{answer.request.url}: {answer.status_code} {answer.text}"]
    document = answer.json()
    marks = generations(document["rows"])
    named = answer.headers["x-americano-snapshot"] == document["snapshot"]
    return [] if len(marks) == 1 and named else [f"{answer.request.url}: {marks}"]


@pytest.mark.parametrize(
    ("publications", "answers"),
    [(4, 60), pytest.param(200, 10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_no_answer_fails_or_mixes_files(
    tmp_path: Path, serve: Callable[..., Api], publications: int, answers: int
) -> None:
    publish_example(tmp_path / "data")
    settings = publish_kept(tmp_path / "data")
    publish_generation(settings, tmp_path, 0)
    api = serve(settings, americano_api_rate=1_000_000, americano_snapshots_kept=KEPT)
    key = api.key("admin")
    stop, faults, counts = threading.Event(), list[str](), [0] * 4
    snapshot_marks: dict[str, set[str]] = {}

    def ask(client: int) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=60) as session:
            while not stop.is_set():
                answer = session.get(f"{api.url}{PATHS[(counts[client] + client) % len(PATHS)]}")
                faults.extend(faults_of(answer))
                if answer.status_code == 200:
                    marks = generations(answer.json()["rows"])
                    snapshot_marks.setdefault(answer.headers["x-americano-snapshot"], set()).update(marks)
                counts[client] += 1

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(len(counts))]
    for client in clients:
        client.start()
    for number in range(1, publications + 1):
        answered = sum(counts)
        publish_generation(settings, tmp_path, number)
        while sum(counts) < answered + 2 * len(counts) and not faults:
            time.sleep(0.01)
    deadline = time.monotonic() + 1800
    while sum(counts) < answers and not faults and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    stop.set()
    for client in clients:
        client.join()

    print(f"{sum(counts)} answers of {len(snapshot_marks)} files, {len(faults)} faults")  # noqa: T201
    assert faults == []
    assert sum(counts) >= answers
    # Each file answered with its own rows only, and the last one is what is answered with.
    assert {len(marks) for marks in snapshot_marks.values()} == {1}
    assert len(snapshot_marks) > publications // 2
    assert generations(api.rows("/v1/protocols")) == {str(publications)}
    # Files that were swept are closed, so their room on the disk is free.
    deadline = time.monotonic() + 15
    while (swept := deleted_files(api)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert swept == []
    assert api.figure("americano_api_open_files") <= KEPT + 1


def publish_kept(data_dir: Path) -> Settings:
    """The settings of a data folder, with few kept snapshots."""
    from americano_pipelines.settings import load_settings

    return load_settings(americano_data_dir=data_dir, americano_snapshots_kept=KEPT)


def deleted_files(api: Api) -> list[str]:
    """Database files that the service holds open although they are gone."""
    folder = Path(f"/proc/{api.process.pid}/fd")
    if not folder.is_dir():
        return [file.path for file in psutil.Process(api.process.pid).open_files() if not Path(file.path).exists()]
    targets = []
    for descriptor in folder.iterdir():
        try:
            targets.append(str(descriptor.readlink()))
        except OSError:
            continue
    return [target for target in targets if ".duckdb" in target and target.endswith("(deleted)")]


def test_a_purged_file_is_no_longer_read(tmp_path: Path, serve: Callable[..., Api]) -> None:
    settings = publish_example(tmp_path / "data")
    first = snapshots.read_record(settings.paths)
    assert first is not None
    api = serve(settings)
    path = f"/v1/protocols?snapshot={first.snapshot_id}"
    publish_generation(settings, tmp_path, 7)
    assert api.get(path).status_code == 200

    snapshots.remove_snapshot(settings.paths.snapshots / first.snapshot_id)

    assert api.get(path).status_code == 404
    deadline = time.monotonic() + 15
    while (left := deleted_files(api)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def test_a_new_file_is_seen_within_a_second(tmp_path: Path, serve: Callable[..., Api]) -> None:
    settings = publish_example(tmp_path / "data")
    api = serve(settings)
    api.rows("/v1/protocols")

    publish_generation(settings, tmp_path, 1)
    time.sleep(0.3)

    assert generations(api.rows("/v1/protocols")) == {"1"}
