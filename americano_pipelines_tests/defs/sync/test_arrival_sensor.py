"""Sensor `parquet_arrival`, tick by tick, on an instance in memory."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.sync import arrival_sensor
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.refresh import refresh
from americano_pipelines_tests.defs.conftest import events_query, write_parquet


class Ticks:
    """The sensor with its memory: each call is a tick, its cursor goes to the next one as text."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.repository = build_defs(settings).get_repository_def()
        self.cursor: str | None = None
        self.keys: list[str] = []
        self.last = dg.SensorResult()

    def tick(self) -> int:
        """Evaluate the sensor; the number of runs it asks for."""
        sensor = self.repository.get_sensor_def("parquet_arrival")
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, repository_def=self.repository)
        data = sensor.evaluate_tick(context)
        self.cursor, self.reason = data.cursor, data.skip_message or ""
        self.reported = [str(event.metadata["broken"].value) for event in data.asset_events]
        keys = [request.run_key or "" for request in data.run_requests or []]
        # Dagster starts nothing for a key that it has seen.
        new = [key for key in keys if key not in self.keys]
        self.keys += new
        return len(new)

    def sync(self) -> None:
        """What the run does, in this process."""
        outcome = refresh(self.settings, StageTimer())
        assert outcome.blocked_by == []

    def end(self, key: str, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS) -> None:
        """A run with this key that ended so."""
        job = self.repository.get_job("nightly_sync")
        run = self.instance.create_run_for_job(job, tags={"dagster/run_key": key})
        self.instance.report_engine_event("started", run)
        if status == dg.DagsterRunStatus.FAILURE:
            self.instance.report_run_failed(run)
        else:
            event = dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name)
            self.instance.report_dagster_event(event, run.run_id)

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
    assert arrival.reason == f"waiting until {folder / 'events' / 'a.parquet'} did not change for a tick"
    assert arrival.ticks(4) == [1, 0, 0, 0]


def test_a_file_that_grows_is_waited_for(arrival: Ticks, file: Path, folder: Path) -> None:
    whole = write_parquet(folder / "aside.parquet", events_query(3000)).read_bytes()
    thirds = len(whole) // 3
    for end in (thirds, 2 * thirds, len(whole)):
        file.write_bytes(whole[:end])
        assert arrival.tick() == 0
        assert arrival.reported == []
    assert arrival.ticks(2) == [1, 0]


def test_published_files_start_no_run_and_touched_ones_start_one(arrival: Ticks, file: Path) -> None:
    arrival.sync()
    assert arrival.ticks(3) == [0, 0, 0]
    assert arrival.reason == "no new or changed file"

    os.utime(file, ns=(1, 1))
    assert arrival.ticks(2) == [0, 1]
    arrival.end(arrival.keys[-1])
    assert arrival.ticks(3) == [0, 0, 0]
    assert "a run found that their content is already published" in arrival.reason


def test_the_published_file_counts_and_not_what_was_seen_last(arrival: Ticks, file: Path, folder: Path) -> None:
    arrival.sync()
    first = snapshots.current(arrival.settings.paths)
    write_parquet(file, events_query(20))
    arrival.sync()
    assert arrival.ticks(2) == [0, 0]

    # A person puts the snapshot before back.
    assert first is not None
    arrival.settings.paths.published.unlink()
    arrival.settings.paths.published.symlink_to(first)
    assert arrival.ticks(3) == [0, 1, 0]
    arrival.sync()
    write_parquet(folder / "events" / "b.parquet", events_query(5, ", 1 AS more"))
    arrival.cursor = None
    assert arrival.ticks(2) == [0, 1], "a lost cursor loses nothing"


def test_a_file_of_several_that_is_taken_away_is_a_change(arrival: Ticks, file: Path, folder: Path) -> None:
    other = write_parquet(
        folder / "events" / "b.parquet",
        "SELECT 'x' || event_id AS event_id, * EXCLUDE (event_id) FROM (" + events_query(5) + ")",
    )
    arrival.sync()
    other.unlink()
    assert arrival.ticks(3) == [0, 1, 0]
    arrival.sync()
    file.unlink()
    assert arrival.ticks(2) == [0, 0], "without any file the table stays as it is"


def test_a_run_that_failed_is_tried_again_after_a_pause_and_not_for_ever(
    arrival: Ticks, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrival.end(arrival.keys[-1], dg.DagsterRunStatus.FAILURE)
    assert arrival.tick() == 0
    assert "the next attempt is at" in arrival.reason

    monkeypatch.setattr(arrival_sensor, "PAUSE", timedelta(0))
    for _ in range(arrival_sensor.ATTEMPTS - 1):
        assert arrival.ticks(2) == [1, 0]
        arrival.end(arrival.keys[-1], dg.DagsterRunStatus.FAILURE)
    assert arrival.ticks(2) == [0, 0]
    assert f"{arrival_sensor.ATTEMPTS} runs for these files failed" in arrival.reason

    write_parquet(file, events_query(12))
    assert arrival.ticks(3) == [0, 1, 0], "another content is another attempt"


def test_many_files_are_looked_at_in_parts_and_only_counted(
    arrival: Ticks, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = write_parquet(folder / "one.parquet", events_query(1))
    (folder / "events").mkdir()
    for number in range(40):
        shutil.copyfile(template, folder / "events" / f"{'long' * 20}{number:03}.parquet")
    for number in (3, 17, 18, 19, 39):
        (folder / "events" / f"{'long' * 20}{number:03}.parquet").write_bytes(b"PAR1 and nothing else")
    monkeypatch.setattr(arrival_sensor, "_FILES_PER_STEP", 8)
    monkeypatch.setattr(arrival_sensor, "_SECONDS_PER_TICK", 1e-9)
    clock = itertools.count()
    monkeypatch.setattr(arrival_sensor, "time", SimpleNamespace(monotonic=lambda: next(clock) * 0.6e-9))

    assert arrival.tick() == 0
    assert arrival.reason.endswith("and 37 more did not change for a tick")
    reported: list[str] = []
    for looked in (8, 16, 24, 32):
        assert arrival.tick() == 0
        assert arrival.reason == f"checked {looked} of 40 new or changed files"
        reported += arrival.reported
    assert arrival.tick() == 0
    assert len(reported + arrival.reported) == 5
    assert arrival.tick() == 0
    assert arrival.reason.endswith("and 2 more can be read (reported before)")
    assert len(arrival.cursor or "") < 1000


@pytest.mark.parametrize("keep_time", [False, True], ids=["new times", "times kept by the copy"])
def test_content_that_comes_back_starts_a_run_each_time(
    arrival: Ticks, file: Path, folder: Path, *, keep_time: bool
) -> None:
    first = Path(shutil.copy2(file, folder / "one"))
    two = write_parquet(folder / "two", events_query(20))
    copy = shutil.copy2 if keep_time else shutil.copyfile
    for content in (two, first, two, first):
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

    assert arrival.ticks(3) == [0, 1, 0]


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
    assert [sensor.name for sensor in others] == ["run_outcome"]
