"""Read the progress and the result of each experiment; show no result before its end."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from americano_pipelines.serving.answer_tables import ANALYSES, PHASES, PROTOCOL, PROTOCOLS, SERIES
from americano_pipelines.serving.pages import record_entries
from americano_pipelines.serving.pages.experiment_days import (
    Day,
    Phase,
    PhaseLines,
    days_of,
    end_of,
    lines_of,
    moment_of,
    phases_of,
)
from americano_pipelines.serving.pages.page_reader import PageReader, Rows
from americano_pipelines.serving.pages.page_tables import PERIODS
from americano_pipelines.serving.problem_details import not_found

if TYPE_CHECKING:
    from americano_pipelines.provenance.record_index import IndexEntry

_OUTCOME = ("verdict", "standing", "effect", "interval_low", "interval_high", "p", "sentence", "record_sha256")


@dataclass(frozen=True)
class Experiment:
    """An experiment in a list.

    Attributes:
        protocol: its row of the table `protocols`.
        starts_at: when its first phase starts.
        ends_at: when its last phase ends, None where that is not known.
        instant: the instant of the data.
        result: its planned or declared analysis, else the newest; empty before the end and without an analysis.
    """

    protocol: Mapping[str, Any]
    starts_at: datetime | None
    ends_at: datetime | None
    instant: datetime
    result: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, or its id where it has none."""
        return str(self.protocol["protocol_name"] or self.protocol["protocol_id"])

    @property
    def is_over(self) -> bool:
        """Whether all of its phases have ended at the instant of the data."""
        return self.ends_at is not None and self.ends_at <= self.instant

    @property
    def state(self) -> str:
        """How far it is."""
        if self.starts_at is not None and self.instant < self.starts_at:
            return "not started"
        return "ended" if self.is_over else "running"

    @property
    def days(self) -> int | None:
        """Whole days from its start to its end; None where one of them is not known."""
        return None if self.starts_at is None or self.ends_at is None else _days(self.starts_at, self.ends_at)

    @property
    def days_so_far(self) -> int | None:
        """Whole days from its start until now, or until its end."""
        if self.starts_at is None:
            return None
        last = self.instant if self.ends_at is None else min(self.instant, self.ends_at)
        return max(0, _days(self.starts_at, last))

    @property
    def why_no_verdict(self) -> str | None:
        """Why no result is shown, None where one is."""
        if self.is_over:
            return None if self.result else "it has not been analysed yet"
        if self.ends_at is None:
            return "its end is not known, so it counts as running"
        return (
            f"it ends on {self.ends_at:%Y-%m-%d}. Stopping because an early "
            "result looks good makes p and interval wrong"
        )


@dataclass(frozen=True)
class ExperimentDays:
    """An experiment with its days.

    Attributes:
        experiment: the experiment.
        phases: its phases.
        series: its days that are over.
    """

    experiment: Experiment
    phases: Sequence[Phase]
    series: Sequence[Day]

    @property
    def lines(self) -> list[PhaseLines]:
        """Level, trend and range of each phase; none before the end."""
        return lines_of(self.series, self.phases) if self.experiment.is_over else []

    @property
    def outcome(self) -> str:
        """Name of the values."""
        return str(self.experiment.protocol["primary_outcome"] or "outcome")

    @property
    def left_out(self) -> dict[str, list[Day]]:
        """The days that do not count, by reason."""
        reasons: dict[str, list[Day]] = {}
        for day in self.series:
            if day.left_out is not None:
                reasons.setdefault(day.left_out, []).append(day)
        return reasons

    @property
    def description(self) -> str:
        """What the chart shows, in words."""
        counted = [day.value for day in self.series if day.value is not None]
        text = f"{len(counted)} of {len(self.series)} days have a value, in {len(self.phases)} phases."
        for line in self.lines:
            text += f" {line.label} ({line.condition}): mean {line.level:.4g}, {line.lowest:.4g} to {line.highest:.4g}."
        return text


async def list_experiments(reader: PageReader) -> list[Experiment]:
    """The experiments that the principal may see, by their start."""
    protocols = await reader.rows(PROTOCOLS, protocol=None)
    periods = {row["protocol_id"]: row for row in await reader.rows(PERIODS)}
    entries = await best_entries(reader, [row["protocol_id"] for row in protocols])
    instant, experiments = reader.snapshot.instant, []
    for row in protocols:
        period = periods.get(row["protocol_id"], row)
        start = moment_of(period["starts_at"]) or moment_of(row["starts_at"])
        end = end_of(row, [period])
        result = _result(row, entries.get(row["protocol_id"])) if end is not None and end <= instant else {}
        experiments.append(Experiment(row, start, end, instant, result))
    return experiments


async def read_experiment(reader: PageReader, protocol_id: str) -> ExperimentDays:
    """An experiment with its days.

    Raises:
        Problem: 404, there is none, or the principal may not see it.
    """
    protocol = await reader.row(PROTOCOL, protocol=protocol_id)
    if protocol is None:
        raise not_found("experiment")
    rows = await reader.rows(PHASES, protocol=protocol_id)
    phases = phases_of(rows)
    instant = reader.snapshot.instant
    series = days_of(await reader.rows(SERIES, protocol=protocol_id), phases, instant)
    end = end_of(protocol, rows)
    start = moment_of(phases[0].starts) if phases else moment_of(protocol["starts_at"])
    result: Mapping[str, Any] = {}
    if end is not None and end <= instant:
        entries = await best_entries(reader, [protocol_id])
        result = _result(protocol, entries.get(protocol_id))
    return ExperimentDays(Experiment(protocol, start, end, instant, result), phases, series)


async def best_entries(reader: PageReader, protocol_ids: Sequence[str]) -> "dict[str, IndexEntry]":
    """The index entry of the record that decides each protocol's verdict, as the archive is now."""
    entries = await asyncio.to_thread(record_entries.best, reader.service.settings.paths)
    return {name: entries[name] for name in protocol_ids if name in entries}


async def analyses_of(reader: PageReader, experiment: Experiment) -> Rows:
    """The analyses of an experiment, newest first: those of the app, and records that the file does not know yet.

    Those of an experiment that is not over come without results.
    """
    protocol_id = str(experiment.protocol["protocol_id"])
    filters = {"protocol": protocol_id, "kind": None, "standing": None, "verdict": None, "status": None}
    rows = [
        {**row, "name": row["record_sha256"] or row["analysis_run_id"]}
        for row in await reader.rows(ANALYSES, **filters)
    ]
    settings = reader.service.settings
    for entry in await asyncio.to_thread(record_entries.of_protocol, settings.paths, protocol_id):
        if entry.sha256 not in {row["record_sha256"] for row in rows}:
            rows = [row for row in rows if row["analysis_run_id"] != entry.analysis_run_id or row["record_sha256"]]
            rows.append(
                {
                    **_of_entry(entry),
                    "name": entry.sha256,
                    "analysis_run_id": entry.analysis_run_id,
                    "analysis_type": entry.analysis,
                    "status": "COMPLETED",
                    "started_at": entry.started_at,
                    "completed_at": entry.ended_at,
                }
            )
    if not experiment.is_over:
        rows = [row | dict.fromkeys(_OUTCOME) for row in rows]
    return sorted(rows, key=lambda row: str(row["started_at"] or ""), reverse=True)


def _result(row: Mapping[str, Any], entry: "IndexEntry | None") -> Mapping[str, Any]:
    if entry is not None:
        return _of_entry(entry) | {"name": entry.sha256, "mlflow_url": entry.mlflow_url}
    if row["record_sha256"] is None and row["verdict"] is None and row["effect"] is None:
        return {}
    return {name: row[name] for name in _OUTCOME} | {
        "name": row["analysis_run_id"] or row["record_sha256"], "mlflow_url": None
    }  # fmt: skip


def _of_entry(entry: "IndexEntry") -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _OUTCOME[:-1]} | {"record_sha256": entry.sha256}


def _days(start: datetime, end: datetime) -> int:
    return (end - start) // timedelta(days=1)
