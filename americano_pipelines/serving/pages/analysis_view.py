"""Read one analysis for a page: its row, its record, and what of them may be shown before its experiment is over."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from americano_pipelines.serving.answer_tables import ANALYSIS
from americano_pipelines.serving.pages import record_entries
from americano_pipelines.serving.pages.experiment_progress import Experiment, read_experiment
from americano_pipelines.serving.pages.page_reader import PageReader
from americano_pipelines.serving.problem_details import Problem, not_found
from americano_pipelines.serving.recorded_analyses import StoredRecord, visible_record
from americano_pipelines.serving.result_rows import result_rows
from americano_pipelines.statistics.visual_columns import COLUMNS

_GROUP_PICTURES = {
    "phases.png": "The days of each case, one above the other, with the mean of each phase.",
    "forest.png": "The effect of each experiment with its interval, and their mean.",
}


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
        """Whether its results may be shown."""
        return self.why_no_result is None

    @property
    def why_no_result(self) -> str | None:
        """Why its results are not shown, None where they are: its experiment is over, or it is of none."""
        if self.experiment is not None:
            return None if self.experiment.is_over else self.experiment.why_no_verdict
        # Of an experiment that is not published any more, only the record can say so.
        is_early = self.standing is not None and not self.standing["plan_over"]
        return "its plan was not over at the instant of its data" if is_early else None

    @property
    def kind(self) -> str | None:
        """Its kind."""
        return self.document["identity"]["analysis"] if self.document else (self.row or {}).get("analysis_type")

    @property
    def title(self) -> str:
        """Its name, or that of its experiment."""
        if self.row is not None and self.row["run_name"]:
            return str(self.row["run_name"])
        if group := self.document.get("identity", {}).get("group"):
            return f"Group {group}"
        return self.experiment.name if self.experiment is not None else f"Analysis {self.name[:12]}"

    @property
    def standing(self) -> Mapping[str, Any] | None:
        """What it is to the plan, with the reasons; None without a record, or where no protocol plans it."""
        standing: Mapping[str, Any] | None = self.document.get("standing")
        return standing

    @property
    def standing_sentence(self) -> str:
        """The same in a sentence; empty without one."""
        from americano_pipelines.analysis.plan_compliance import PlanCompliance

        # Older records lack fields, which have defaults.
        return PlanCompliance.model_validate(self.standing).sentence if self.standing is not None else ""

    @property
    def mlflow(self) -> Mapping[str, str | None]:
        """Address and id of its MLflow run; None where it has no address."""
        tracking = self.document.get("tracking", {})
        return {"url": tracking.get("url"), "run_id": tracking.get("run_id")}

    @property
    def counts(self) -> Mapping[str, Any]:
        """What was read and left out, by reason; empty where that is not known."""
        counts = self.document.get("results", {}).get("counts")
        return counts if isinstance(counts, dict) else {}

    @property
    def has_report(self) -> bool:
        """Whether it has a report."""
        return "report.html" in self.document.get("artifacts", {})

    @property
    def test(self) -> dict[str, Any] | None:
        """What a chart of the randomization distribution needs; None where nothing was tested, or before the end."""
        test = self.document.get("results", {}).get("test") if self.shows_results else None
        return randomization_test(test) if isinstance(test, dict) else None

    @property
    def visual_tables(self) -> Mapping[str, list[Mapping[str, Any]]]:
        """A table for each feature of visual analysis; empty where the record has none, and before the end."""
        tables = self.document.get("results", {}).get("visual analysis") if self.shows_results else None
        if not isinstance(tables, dict):
            return {}
        return {
            feature: [{name: row[name] for name in columns if name in row} for row in tables.get(feature, [])]
            for feature, columns in COLUMNS.items()
        }

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """A row for each contrast, criterion, case or experiment; empty before the end, and with one comparison."""
        return result_rows(self.document.get("results", {})) if self.shows_results else []

    @property
    def group_pictures(self) -> list[tuple[str, str]]:
        """File and description of the pictures of a group, which no chart of the pages shows; empty before the end."""
        if not self.shows_results or self.document.get("identity", {}).get("group") is None:
            return []
        artifacts = self.document["artifacts"]
        return [(name, words) for name, words in _GROUP_PICTURES.items() if name in artifacts]

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
    if test.get("direction") and test.get("as_extreme"):
        edges, counts = _with_own_bin(edges, counts, observed, test["as_extreme"], higher=higher)
    return {
        "edges": edges, "counts": counts, "observed": observed, "higher": higher, "p": test.get("p"),
        "assignments": test.get("assignments"), "as_extreme": test.get("as_extreme"), "kind": test.get("kind"),
        "direction": test.get("direction"),
    }  # fmt: skip


def _with_own_bin(
    edges: Sequence[float], counts: Sequence[int], observed: float, as_extreme: int, *, higher: bool
) -> tuple[list[float], list[int]]:
    """Edges and counts with a bin of what is as extreme, where the observed value is the most extreme of all.

    The outermost bin then holds it together with less extreme ones.
    """
    if higher and observed >= edges[-1] and counts[-1] >= as_extreme:
        width = edges[-1] - edges[-2]
        return [*edges, edges[-1] + width], [*counts[:-1], counts[-1] - as_extreme, as_extreme]
    if not higher and observed <= edges[0] and counts[0] >= as_extreme:
        width = edges[1] - edges[0]
        return [edges[0] - width, *edges], [as_extreme, counts[0] - as_extreme, *counts[1:]]
    return list(edges), list(counts)


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
    entries = await asyncio.to_thread(record_entries.of_run, reader.service.settings.paths, name)
    for candidate in (*(entry.sha256 for entry in reversed(entries)), name):
        try:
            return await visible_record(reader.service, reader.snapshot, reader.principal, candidate)
        except Problem as problem:
            if problem.code != "not-found":
                raise
    return None
