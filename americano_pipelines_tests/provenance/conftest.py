"""Recorded analyses of a published file, made without Dagster, and ways to tamper with them."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.analysis.registry import KINDS, Kind
from americano_pipelines.mlflow_store.analysis_run import analysis_run
from americano_pipelines.mlflow_store.client import Store, open_store
from americano_pipelines.mlflow_store.runs import get_or_create_parent_run
from americano_pipelines.provenance.capture import RunContext
from americano_pipelines.provenance.perform import PerformedAnalysis, perform
from americano_pipelines.provenance.preparation import prepare
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.target import DagsterHashes
from americano_pipelines.provenance.verify.verification import Verification, verify
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshots import open_published
from americano_pipelines_tests.conftest import Database, Server, cut
from americano_pipelines_tests.prisma_database import link_url
from americano_pipelines_tests.sync.support import sync


@dataclass(frozen=True)
class Lab:
    """A data folder with a published file and an MLflow database."""

    settings: Settings
    store: Store
    database: Database

    def analyse(
        self,
        kind: str = "abab_randomization",
        *,
        row: str | None = None,
        dagster_run: str | None = None,
        **overrides: Any,
    ) -> Recorded:
        """Run and record an analysis of `protocol_1`."""
        return self.perform(KINDS[kind], row=row, dagster_run=dagster_run, **overrides).recorded

    def perform(
        self,
        kind: Kind,
        *,
        row: str | None = None,
        dagster_run: str | None = None,
        before: frozenset[str] = frozenset(),
        settings: Settings | None = None,
        **overrides: Any,
    ) -> PerformedAnalysis:
        """Run and record an analysis, of `protocol_1` if it is one of a protocol.

        Args:
            kind: which analysis.
            row: the app's row.
            dagster_run: the Dagster run.
            before: hashes of the protocol's records that Dagster's log has.
            settings: others than the lab's, with an app.
            overrides: parameters.
        """
        dagster_run_id = dagster_run or secrets.token_hex(8)
        parent = get_or_create_parent_run(self.store, self.settings, dagster_run_id, "job", {})
        protocol_id = "protocol_1" if kind.scope == "protocol" else None
        with open_published(self.settings) as connection:
            document = snapshots.read_record(self.settings.paths)
            assert document is not None
            prepared = prepare(self.settings, connection, document, kind, protocol_id, overrides)
            context = RunContext(
                dagster_run_id, f"analysis/{kind.name}", protocol_id, "a test", row, recorded_before=before
            )
            with analysis_run(self.store, parent, kind.name, {}) as run:
                return perform(run, settings or self.settings, prepared, context)

    def verify(self, name: str, in_dagster: DagsterHashes | None = None, *, again: bool = False) -> Verification:
        """Verify; Dagster has the right hash unless it is said what it has."""
        return verify(self.settings, name, in_dagster or remembered, again=again)

    def artifact(self, recorded: Recorded, path: str) -> Path:
        """The file of an artifact."""
        return self.settings.paths.root / "mlflow" / "artifacts" / run_id(recorded) / "artifacts" / path


def remembered(record: Record) -> list[str]:
    """What Dagster stores about a record that was not changed."""
    return [record.sha256]


def run_id(recorded: Recorded) -> str:
    """Its MLflow run."""
    return str(recorded.record.tracking["run_id"])


def faults(verification: Verification) -> dict[str, Status]:
    """Each fault's thing and status."""
    return {fault.what: fault.status for fault in verification.faults}


def finding(verification: Verification, what: str) -> Finding:
    """The one finding of a thing."""
    (match,) = [match for match in verification.findings if match.what == what]
    return match


@contextmanager
def altered(path: Path, content: bytes | None) -> Iterator[None]:
    """Change or remove a file for the block; it may be one that other tests share."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(before)
        path.chmod(mode)


@pytest.fixture(scope="module")
def lab(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    database = cut(server, "prisma")
    # Four phases of 14 days, as they were planned: else there is no test.
    database.execute("UPDATE experiment_protocols SET \"endDate\" = '2025-03-07'")
    folder = tmp_path_factory.mktemp("lab") / "data"
    settings = load_settings(americano_data_dir=folder, log_level="WARNING", **database.variables())
    sync(settings)
    return Lab(settings, open_store(settings), database)


@pytest.fixture(scope="module")
def record(lab: Lab) -> Record:
    """One record that no test touches."""
    return lab.analyse().record


@pytest.fixture
def linked(lab: Lab) -> Settings:
    """The lab's settings with the app's database, as the role that may write nothing else."""
    values = lab.database.variables(analysis_runs_database_url=link_url(lab.database))
    return load_settings(americano_data_dir=lab.settings.paths.root, log_level="WARNING", **values)
