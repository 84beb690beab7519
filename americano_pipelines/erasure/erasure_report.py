"""The report of an erasure: what each store holds of a learner, what was removed and what remains."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from americano_pipelines.erasure.data_files import SnapshotToErase
    from americano_pipelines.erasure.extracts import ExtractToErase
    from americano_pipelines.erasure.mlflow_runs import RunCopies


@dataclass
class ErasureReport:
    """What is there of a learner.

    Attributes:
        published: where the published file and the lake in use name them, to the number of rows.
        snapshots: kept snapshots that go.
        extracts: extracts that go.
        copies: what MLflow runs have of those and of earlier ones.
        dagster_runs: Dagster runs of their protocols.
        models: name and version of the models that were trained on extracts that go.
        removed: names, as `rows` has them, of what was removed.
        owners: protocol to those who own it, in the published files that were kept when this began.
        key_problem: why extracts could not be told by pseudonym, None when they could.
        unjudged: extracts that stay although it is not known whose they are.
        problems: what could not be looked at or removed, in words.
        doubtful: whether nothing was removed because nothing names the learner.
    """

    published: dict[str, int]
    snapshots: "list[SnapshotToErase]"
    extracts: "list[ExtractToErase]"
    copies: "list[RunCopies]" = field(default_factory=list)
    dagster_runs: list[str] = field(default_factory=list)
    models: list[tuple[str, str]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    owners: dict[str, set[str]] = field(default_factory=dict)
    key_problem: str | None = None
    unjudged: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    doubtful: bool = False

    @property
    def seen(self) -> bool:
        """Whether anything names the learner, so that the id is a learner's."""
        extracts = [*self.extracts, *(copy.extract for copy in self.copies)]
        return (
            bool(self.published) or any(item.holds for item in self.snapshots) or any(item.holds for item in extracts)
        )

    def rows(self) -> list[tuple[str, str, int | None, str]]:
        """Kind, name, bytes and reason of all that goes."""
        entries: list[tuple[str, str, int | None, str]] = [
            ("snapshot", item.what, item.bytes, item.reason) for item in self.snapshots
        ]
        for item in self.extracts:
            of = f" (protocol {item.protocol_id})" if item.protocol_id else ""
            entries.append(("extract", item.sha256, item.bytes, f"{item.reason}{of}"))
        for copy in self.copies:
            reason = f"{', '.join(copy.paths)}: extract {copy.extract.sha256[:12]} {copy.extract.reason}"
            entries.append(("MLflow run", copy.files.run_id, copy.bytes, reason))
        entries += [("Dagster run", run_id, None, "analysed a protocol of the learner") for run_id in self.dagster_runs]
        return entries

    def remains(self) -> list[str]:
        """What is not removed, in words."""
        texts = [
            f"model {name} version {version} was trained on data that held this learner, or may have"
            for name, version in self.models
        ]
        texts += [
            f"{path} of MLflow run {copy.files.run_id} was added by people, and was not looked into"
            for copy in self.copies
            for path in copy.others
        ]
        if self.extracts or self.copies:
            texts.append(
                "records and MLflow's numbers stay: results, no rows; the app's rows of analyses are the app's"
            )
        return texts
