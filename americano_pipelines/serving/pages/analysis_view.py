"""Read one analysis for a page: its row, its record, and what of them may be shown before its experiment is over."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from americano_pipelines.serving.answer_tables import ANALYSIS
from americano_pipelines.serving.pages.experiments import Experiment, read_experiment
from americano_pipelines.serving.pages.page_reader import PageReader
from americano_pipelines.serving.problem_details import Problem, not_found
from americano_pipelines.serving.recorded_analyses import StoredRecord, visible_record


@dataclass(frozen=True)
class AnalysisView:
    """An analysis.

    Attributes:
        name: its id, as the address has it.
        row: its row of the table `analysis`, None for one that the file does not know.
        record: its record, None where it has none.
        experiment: its experiment, None for an analysis of all learners.
    """

    name: str
    row: Mapping[str, Any] | None
    record: StoredRecord | None
    experiment: Experiment | None

    @property
    def document(self) -> Mapping[str, Any]:
        """The record's content; empty without a record."""
        return self.record.document if self.record is not None else {}

    @property
    def shows_results(self) -> bool:
        """Whether its results may be shown: its experiment is over, or it is of none."""
        return self.experiment is None or self.experiment.is_over

    @property
    def kind(self) -> str | None:
        """Its kind."""
        return self.document["identity"]["analysis"] if self.document else (self.row or {}).get("analysis_type")

    @property
    def title(self) -> str:
        """Its name, or that of its experiment."""
        if self.row is not None and self.row["run_name"]:
            return str(self.row["run_name"])
        return self.experiment.name if self.experiment is not None else f"Analysis {self.name[:12]}"

    @property
    def test(self) -> dict[str, Any] | None:
        """What a chart of the randomization distribution needs; None where nothing was tested, or before the end."""
        test = self.document.get("results", {}).get("test") if self.shows_results else None
        return randomization_test(test) if isinstance(test, dict) else None

    @property
    def numbers(self) -> dict[str, float | None]:
        """Effect, interval and p; empty before the end."""
        if not self.shows_results:
            return {}
        if self.record is not None:
            metrics = self.document["logged"]["metrics"]
            last = {name: points[-1][1] for name, points in metrics.items() if points}
            return {"effect": last.get("observed"), **{n: last.get(n) for n in ("interval_low", "interval_high", "p")}}
        row = self.row or {}
        return {name: row.get(name) for name in ("effect", "interval_low", "interval_high", "p")}


def randomization_test(test: Mapping[str, Any]) -> dict[str, Any] | None:
    """Edges, counts, the observed value and the way that counts as extreme; None for a record without them."""
    edges, counts, observed = (test.get(name) for name in ("edges", "counts", "observed"))
    if not edges or not counts or observed is None:
        return None
    middles = [(first + end) / 2 for first, end in pairwise(edges)]
    above = sum(count for middle, count in zip(middles, counts, strict=False) if middle >= observed)
    higher = test["direction"] == "increase" if test.get("direction") else above <= sum(counts) - above
    return {
        "edges": edges, "counts": counts, "observed": observed, "higher": higher, "p": test.get("p"),
        "assignments": test.get("assignments"), "as_extreme": test.get("as_extreme"), "kind": test.get("kind"),
        "statistic": test.get("statistic"), "direction": test.get("direction"),
    }  # fmt: skip


async def read_analysis(reader: PageReader, name: str) -> AnalysisView:
    """An analysis that the principal may see.

    Args:
        reader: what reads.
        name: the id of its run, or the hash of its record.

    Raises:
        Problem: 404, there is none, or it is not visible; 500, its record was changed.
    """
    row = await reader.row(ANALYSIS, analysis=name)
    record = await _record(reader, name)
    if row is None and record is not None and record.document["identity"]["analysis_run_id"]:
        row = await reader.row(ANALYSIS, analysis=record.document["identity"]["analysis_run_id"])
    if row is None and record is None:
        raise not_found("analysis")
    protocol_id = record.document["identity"]["protocol_id"] if record is not None else (row or {})["protocol_id"]
    experiment = None
    if protocol_id is not None:
        try:
            experiment = (await read_experiment(reader, protocol_id)).experiment
        except Problem as problem:
            # A researcher also sees what was recorded of an experiment that is not published any more.
            if problem.code != "not-found" or record is None:
                raise
    return AnalysisView(name, row, record, experiment)


async def _record(reader: PageReader, name: str) -> StoredRecord | None:
    from americano_pipelines.provenance.record_index import find_entries

    entries = await asyncio.to_thread(find_entries, reader.service.settings, "analysis_run_id", name)
    for candidate in (*(entry.sha256 for entry in reversed(entries)), name):
        try:
            return await visible_record(reader.service, reader.snapshot, reader.principal, candidate)
        except Problem as problem:
            if problem.code != "not-found":
                raise
    return None
