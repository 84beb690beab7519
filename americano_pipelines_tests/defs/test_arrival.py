"""Sensor `parquet_arrival`, tick by tick, on an instance in memory."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from americano_pipelines.defs.build import build_defs
from americano_pipelines.settings import Settings
from americano_pipelines_tests.defs.conftest import events_query, write_parquet


class Ticks:
    """The sensor with its memory: each call is a tick, its cursor goes to the next one as text."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.cursor: str | None = None
        self.keys: list[str] = []
        self.last = dg.SensorResult()

    def tick(self) -> int:
        """Evaluate the sensor as a new code server would; the number of runs it asks for."""
        definitions = build_defs(self.settings)
        sensor = definitions.get_repository_def().get_sensor_def("parquet_arrival")
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=definitions.get_repository_def()
        )
        data = sensor.evaluate_tick(context)
        self.cursor, self.reason = data.cursor, data.skip_message or ""
        self.reported = [str(event.metadata["broken"].value) for event in data.asset_events]
        keys = [request.run_key or "" for request in data.run_requests or []]
        # Dagster starts nothing for a key that it has seen.
        new = [key for key in keys if key not in self.keys]
        self.keys += new
        return len(new)

    def ticks(self, count: int) -> list[int]:
        return [self.tick() for _ in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in"


@pytest.fixture
def arrival(settings_for: Callable[..., Settings], folder: Path) -> Iterator[Ticks]:
    settings = settings_for(
        behavioral_events_parquet=str(folder / "events"), phase_assignments_parquet=str(folder / "phases*.parquet")
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(settings, instance)


@pytest.fixture
def file(arrival: Ticks, folder: Path) -> Path:
    """A file that arrived and was loaded."""
    path = write_parquet(folder / "events" / "a.parquet", events_query(10))
    assert arrival.ticks(3) == [0, 1, 0]
    return path


def test_a_new_file_starts_one_run_once_it_stands_still(arrival: Ticks, folder: Path) -> None:
    assert arrival.tick() == 0
    assert arrival.reason == "no new or changed file"
    write_parquet(folder / "events" / "a.parquet", events_query(10))

    assert arrival.tick() == 0
    assert arrival.reason == f"waiting until {folder / 'events' / 'a.parquet'} is complete"
    assert arrival.ticks(4) == [1, 0, 0, 0]


def test_a_file_that_grows_is_waited_for(arrival: Ticks, file: Path, folder: Path) -> None:
    whole = write_parquet(folder / "aside.parquet", events_query(3000)).read_bytes()
    thirds = len(whole) // 3
    for end in (thirds, 2 * thirds, len(whole)):
        file.write_bytes(whole[:end])
        assert arrival.tick() == 0
        assert arrival.reported == []
    assert arrival.ticks(2) == [1, 0]


def test_touching_starts_nothing(arrival: Ticks, file: Path) -> None:
    os.utime(file, ns=(1, 1))

    assert arrival.ticks(3) == [0, 0, 0]


@pytest.mark.parametrize("keep_time", [False, True], ids=["new times", "times kept by the copy"])
def test_content_that_comes_back_starts_a_run_each_time(
    arrival: Ticks, file: Path, folder: Path, *, keep_time: bool
) -> None:
    one = Path(shutil.copy2(file, folder / "one"))
    two = write_parquet(folder / "two", events_query(20))
    copy = shutil.copy2 if keep_time else shutil.copyfile
    for content in (two, one, two, one):
        copy(content, file)
        assert arrival.ticks(3) == [0, 1, 0]
    assert len(set(arrival.keys)) == 5


def test_a_broken_file_is_reported_once_and_holds_the_others_back(arrival: Ticks, file: Path, folder: Path) -> None:
    good = file.read_bytes()
    file.write_bytes(good[:100])
    write_parquet(folder / "phases_1.parquet", "SELECT 'p' AS id, TIMESTAMP '2024-05-01' AS start_date")

    assert arrival.ticks(2) == [0, 0]
    (problem,) = arrival.reported
    assert problem.startswith(f"{file} cannot be read as Parquet")
    for _ in range(3):
        assert arrival.tick() == 0
        assert arrival.reported == []
        assert arrival.reason.startswith("held back until")

    write_parquet(file, events_query(11))
    assert arrival.ticks(4) == [0, 1, 0, 0], "mended: one run for both"


def test_each_of_two_broken_files_is_reported(arrival: Ticks, folder: Path) -> None:
    names = [folder / "events" / name for name in ("a.parquet", "b.parquet")]
    names[0].parent.mkdir(parents=True)
    for name in names:
        name.write_bytes(b"PAR1 and nothing else")

    assert arrival.ticks(2) == [0, 0]
    assert [problem.partition(" cannot")[0] for problem in arrival.reported] == [str(name) for name in names]


def test_a_broken_file_that_is_taken_away_holds_nothing_back(arrival: Ticks, folder: Path) -> None:
    broken = folder / "events" / "broken.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PAR1 and nothing else")
    write_parquet(folder / "events" / "a.parquet", events_query(10))
    assert arrival.ticks(3) == [0, 0, 0]
    broken.unlink()

    assert arrival.ticks(3) == [1, 0, 0]


def test_files_that_come_together_start_one_run(arrival: Ticks, folder: Path) -> None:
    write_parquet(folder / "events" / "a.parquet", events_query(10))
    write_parquet(folder / "events" / "deep" / "b.parquet", events_query(5))
    write_parquet(folder / "phases_1.parquet", "SELECT 'p' AS id, TIMESTAMP '2024-05-01' AS start_date")

    assert arrival.ticks(4) == [0, 1, 0, 0]


def test_a_deleted_file_is_no_error_and_starts_anew_when_it_is_back(arrival: Ticks, file: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    assert arrival.ticks(2) == [0, 0]
    assert arrival.reason == "no new or changed file"

    file.write_bytes(content)
    assert arrival.ticks(3) == [0, 1, 0]


def test_it_watches_by_default_and_only_in_parquet_mode(settings_for: Callable[..., Settings]) -> None:
    sensor = build_defs(settings_for()).get_repository_def().get_sensor_def("parquet_arrival")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name == "nightly_sync"
    others = build_defs(settings_for(pg_host="db.example")).get_repository_def().sensor_defs
    assert [found.name for found in others] == ["run_outcome"]
