"""A verification as a whole: what was looked at, and what is said of all of it.

Here belongs the order of the questions. Each is answered in a module of its own.
"""

from dataclasses import asdict, dataclass
from typing import Any

from americano_pipelines.settings import Settings
from americano_pipelines.tracking.store import open_store
from americano_pipelines.tracking.verify import currency, integrity, model
from americano_pipelines.tracking.verify.find import InDagster, Subject, find
from americano_pipelines.tracking.verify.findings import FAULTS, STALE, Finding, Status
from americano_pipelines.tracking.verify.places import places
from americano_pipelines.tracking.verify.rerun import rerun


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        subject: the record that everything was compared with.
        findings: one for each thing that was looked at.
    """

    subject: Subject
    findings: list[Finding]

    @property
    def faults(self) -> list[Finding]:
        """What is not as it was recorded, or did not come out again."""
        return [one for one in self.findings if one.status in FAULTS]

    @property
    def stale(self) -> list[Finding]:
        """What an analysis would not meet as it was."""
        return [one for one in self.findings if one.status in STALE]

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.faults:
            purged = sum(one.status is Status.PURGED for one in self.findings)
            if purged:
                return f"verified, as far as it was not purged: {purged} {'things were' if purged > 1 else 'thing was'}"
            return "verified: everything that was recorded is as it was"
        by_status: dict[str, list[str]] = {}
        for one in self.faults:
            by_status.setdefault(one.status.value, []).append(one.what)
        return "; ".join(f"{status} in {', '.join(names)}" for status, names in by_status.items())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        record = self.subject.record
        return {
            "record": self.subject.sha256,
            "taken_from": self.subject.taken_from,
            "analysis": record.identity.analysis,
            "protocol": record.identity.protocol_id,
            "mlflow_run_id": record.tracking["run_id"],
            "analysis_run_id": record.identity.analysis_run_id,
            "verified": not self.faults,
            "current": not self.stale,
            "sentence": self.sentence,
            "findings": [asdict(one) for one in self.findings],
        }


def verify(settings: Settings, name: str, in_dagster: InDagster, *, again: bool) -> Verification:
    """Verify a recorded analysis.

    Args:
        settings: whose archive, MLflow and app.
        name: the MLflow run, the app's AnalysisRun, or the record's hash, of which 8 hex digits are enough.
        in_dagster: what Dagster has of a record.
        again: do the analysis again too.

    Raises:
        AnalysisError: there is no such record; TamperedError: nothing intact is left of it.
        TrackingError: MLflow does not answer; LinkError: the app's database does not.
    """
    store = open_store(settings)
    subject = find(settings, store, name, in_dagster)
    findings = [
        *places(settings, subject, in_dagster),
        *integrity.mlflow_run(subject),
        *model.version(store, subject.record),
        *integrity.artifacts(settings, subject),
        *model.files(store, subject.record),
        *integrity.data(settings, subject.record),
        *currency.surroundings(subject.record),
        *currency.present_data(settings, subject.record),
        *(rerun(settings, subject) if again else ()),
    ]
    return Verification(subject, findings)
