"""Sensor `parquet_arrival` (parquet mode): starts the job when export files are new or changed.

Here belongs telling a complete new file from one still being written, one touched and one broken.
https://docs.dagster.io/guides/automate/sensors
"""

import hashlib
import json
from pathlib import Path

import dagster as dg
from pydantic import BaseModel

from americano_pipelines.defs import specs
from americano_pipelines.defs.jobs import NIGHTLY
from americano_pipelines.engine import connect
from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import CONTRACTS
from americano_pipelines.sources.files import file_columns, hash_file
from americano_pipelines.sources.places import expand

Stamp = tuple[int, int]


class Seen(BaseModel):
    """The sensor's memory between ticks, its cursor.

    Attributes:
        settled: path to size, mtime and sha256 of files that a run was started for.
        waiting: path to size and mtime of files that changed since the tick before.
        broken: path to size and mtime of files that cannot be read and were reported.
        arrivals: runs asked for so far.
    """

    settled: dict[str, tuple[int, int, str]] = {}
    waiting: dict[str, Stamp] = {}
    broken: dict[str, Stamp] = {}
    arrivals: int = 0


def build_parquet_arrival(settings: Settings) -> dg.SensorDefinition:
    """The sensor for these settings."""

    @dg.sensor(
        name="parquet_arrival",
        job_name=NIGHTLY,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the nightly job when export files are new or changed and complete.",
    )
    def parquet_arrival(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = Seen.model_validate_json(context.cursor) if context.cursor else Seen()
        try:
            now, arrived, problems = look(settings, before)
        except (FileNotFoundError, TransientSourceError) as error:
            return dg.SensorResult(skip_reason=f"taken away while it was looked at: {error}", cursor=context.cursor)
        for _, problem in problems:
            context.log.error(problem)
        events = [
            dg.AssetObservation(specs.key("files", table), metadata={"broken": problem}) for table, problem in problems
        ]
        if arrived:
            # The count is part of the key: content that comes back after a change is a new arrival, even with its
            # old modification time (rsync and cp -p keep it), and Dagster starts no second run for a known key.
            key = json.dumps([now.arrivals, {name: now.settled[name] for name in arrived}], sort_keys=True)
            request = dg.RunRequest(run_key=hashlib.sha256(key.encode()).hexdigest()[:32])
            return dg.SensorResult([request], cursor=now.model_dump_json(), asset_events=events)
        return dg.SensorResult(
            skip_reason="; ".join(problem for _, problem in problems) or _reason(now),
            cursor=now.model_dump_json(),
            asset_events=events,
        )

    return parquet_arrival


def look(settings: Settings, before: Seen) -> tuple[Seen, list[str], list[tuple[str, str]]]:
    """Look at all files once.

    Returns:
        What to remember; the paths to start a run for; and the table and problem of each file found broken now.
        While any file is incomplete or broken nothing is started: the run would read it too, and fail.
    """
    now = Seen(arrivals=before.arrivals)
    complete: dict[str, Stamp] = {}
    problems: list[tuple[str, str]] = []
    for table, path in _files(settings):
        name = str(path)
        status = path.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        settled = before.settled.get(name)
        if settled is not None:
            now.settled[name] = settled
        if settled is not None and settled[:2] == stamp:
            continue
        if before.broken.get(name) == stamp:
            now.broken[name] = stamp
        elif before.waiting.get(name) != stamp:
            # Size and time must stand still for a whole interval: a file being copied grows.
            now.waiting[name] = stamp
        elif (problem := _problem(settings, path)) is not None:
            now.broken[name] = stamp
            problems.append((table, problem))
        else:
            complete[name] = stamp
    if now.waiting or now.broken:
        now.waiting.update(complete)
        return now, [], problems
    changed = {name: (*stamp, hash_file(Path(name)).sha256) for name, stamp in complete.items()}
    arrived = [
        name for name, seen in changed.items() if name not in before.settled or before.settled[name][2] != seen[2]
    ]
    now.settled.update(changed)
    now.arrivals += bool(arrived)
    return now, arrived, problems


def _files(settings: Settings) -> list[tuple[str, Path]]:
    return [(contract.name, path) for contract in CONTRACTS for path in expand(settings.parquet_input(contract.name))]


def _problem(settings: Settings, path: Path) -> str | None:
    try:
        with connect(settings) as connection:
            file_columns(connection, path)
    except SourceError as error:
        return str(error)
    return None


def _reason(now: Seen) -> str:
    if now.broken:
        return f"held back until {', '.join(now.broken)} can be read (reported before)"
    if now.waiting:
        return f"waiting until {', '.join(now.waiting)} is complete"
    return "no new or changed file"
