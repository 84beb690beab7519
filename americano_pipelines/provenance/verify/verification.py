"""Verify a record as a whole: run all checks in order and sum them up."""

from dataclasses import asdict, dataclass
from typing import Any

from americano_pipelines.mlflow_store.client import open_store_to_read
from americano_pipelines.provenance.verify import app_columns, integrity, mlflow_page, source_data, staleness
from americano_pipelines.provenance.verify.findings import FAULTS, STALE, Finding, Status
from americano_pipelines.provenance.verify.hash_locations import ROW, hash_locations
from americano_pipelines.provenance.verify.rerun import rerun
from americano_pipelines.provenance.verify.target import DagsterHashes, Target, choose_target
from americano_pipelines.settings import Settings


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        subject: the record that everything was compared with.
        findings: one for each thing that was looked at.
    """

    subject: Target
    findings: list[Finding]

    @property
    def faults(self) -> list[Finding]:
        """What is not as it was recorded, or did not come out again."""
        return [finding for finding in self.findings if finding.status in FAULTS]

    @property
    def stale(self) -> list[Finding]:
        """Code, environment or data that changed since the analysis."""
        return [finding for finding in self.findings if finding.status in STALE]

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.faults:
            purged = sum(finding.status is Status.PURGED for finding in self.findings)
            if purged:
                return f"verified, except {purged} purged item{'s' if purged > 1 else ''}"
            return "verified: nothing that was recorded has changed"
        by_status: dict[str, list[str]] = {}
        for finding in self.faults:
            by_status.setdefault(finding.status.value, []).append(finding.what)
        return "; ".join(f"{status} in {', '.join(names)}" for status, names in by_status.items())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        record = self.subject.record
        return {
            "record": self.subject.sha256,
            "taken_from": self.subject.taken_from,
            "analysis": record.identity.analysis,
            "protocol": record.identity.protocol_id,
            **({"group": record.identity.group} if record.identity.group is not None else {}),
            "mlflow_run_id": record.tracking["run_id"],
            "analysis_run_id": record.identity.analysis_run_id,
            "verified": not self.faults,
            "current": not self.stale,
            "sentence": self.sentence,
            "findings": [asdict(finding) for finding in self.findings],
        }


def verify(settings: Settings, name: str, in_dagster: DagsterHashes, *, again: bool) -> Verification:
    """Verify a recorded analysis.

    Args:
        settings: whose archive, MLflow and app.
        name: the MLflow run, the app's AnalysisRun, or the record's hash, of which 8 hex digits are enough.
        in_dagster: what Dagster stores about a record.
        again: do the analysis again too.

    Raises:
        AnalysisError: there is no such record; TamperedError: nothing intact is left of it.
        TrackingError: MLflow does not answer; AppRowError: the app's database does not.
    """
    store = open_store_to_read(settings)
    subject = choose_target(settings, store, name, in_dagster)
    located = list(hash_locations(settings, subject, in_dagster))
    shown = any(finding.what == ROW and finding.status is Status.MATCH for finding in located)
    findings = [
        *located,
        *(app_columns.compare_columns(settings.app, subject.record) if shown else ()),
        *app_columns.other_rows(settings.app, subject.sha256, subject.record),
        *integrity.mlflow_run(subject),
        *mlflow_page.compare_run_page(subject),
        *integrity.version(store, subject.record),
        *mlflow_page.compare_model_page(store, subject.record),
        *integrity.artifacts(settings.paths, subject),
        *integrity.files(store, subject.record),
        *integrity.data(settings.paths, subject.record),
        integrity.modules(settings.paths, subject.record),
        *source_data.compare_extract(settings, subject.sha256, subject.record),
        *staleness.check_environment(subject.record),
        *staleness.present_data(settings, subject.record),
        *(rerun(settings.paths, subject) if again else ()),
    ]
    return Verification(subject, findings)
