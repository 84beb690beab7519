"""Carry out a row that a person names: claimed if it requests this analysis of this protocol, else left unchanged."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.job_names import ANALYSES
from americano_pipelines.provenance.archive import records
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.defs.conftest import Runner, failure
from americano_pipelines_tests.prisma_database import link_url, row


@dataclass(frozen=True)
class Analyses:
    """Runs analyses of `protocol_1` on a published file."""

    settings: Settings
    instance: dg.DagsterInstance

    def run(self, kind: str, **config: Any) -> dg.ExecuteInProcessResult:
        return (
            build_defs(self.settings)
            .resolve_job_def(ANALYSES)
            .execute_in_process(
                instance=self.instance,
                raise_on_error=False,
                partition_key="protocol_1",
                asset_selection=[dg.AssetKey(["analysis", kind])],
                run_config={"ops": {f"analysis__{kind}": {"config": config}}},
            )
        )


@pytest.fixture
def analyses(runner: Callable[..., Runner], prisma: Database, empty_store: Path) -> Analyses:
    sync = runner(**prisma.variables(analysis_runs_database_url=link_url(prisma)))
    assert sync.run().success
    folder = sync.settings.paths.root / "mlflow"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    return Analyses(sync.settings, sync.instance)


def test_a_row_of_another_protocol_or_type_stays_pending(analyses: Analyses, prisma: Database) -> None:
    prisma.execute("UPDATE analysis_runs SET \"analysisType\" = 'CHANGE_POINT_DETECTION' WHERE id = 'run_0'")
    before = row(prisma, columns="to_jsonb(analysis_runs)")
    refused = analyses.run("change_points", analysis_run_id="run_0")
    assert "row 'run_0' is CHANGE_POINT_DETECTION of protocol protocol_0, not" in failure(refused)
    assert row(prisma, columns="to_jsonb(analysis_runs)") == before

    prisma.execute("UPDATE analysis_runs SET \"analysisType\" = 'BAYESIAN_ITS' WHERE id = 'run_1'")
    before = row(prisma, "run_1", "to_jsonb(analysis_runs)")
    for kind, config in (("change_points", {}), ("interrupted_time_series", {"method": "least_squares"}),
                         ("interrupted_time_series", {})):  # fmt: skip
        refused = analyses.run(kind, analysis_run_id="run_1", **config)
        assert "row 'run_1' is BAYESIAN_ITS of protocol protocol_1, not" in failure(refused)
        assert row(prisma, "run_1", "to_jsonb(analysis_runs)") == before
    assert list(records(analyses.settings.paths)) == []


def test_a_row_of_this_type_or_an_unknown_one_is_completed(analyses: Analyses, prisma: Database) -> None:
    prisma.execute("UPDATE analysis_runs SET \"analysisType\" = 'MIXED_EFFECTS' WHERE id = 'run_1'")
    assert analyses.run("interrupted_time_series", analysis_run_id="run_1").success
    assert row(prisma, "run_1") == ("COMPLETED", None)

    prisma.execute(
        "UPDATE analysis_runs SET \"analysisType\" = 'BAYESIAN_ITS', status = 'PENDING', \"mlflowRunId\" = NULL, "
        "\"inputParams\" = '{}' WHERE id = 'run_1'"
    )
    refused = analyses.run("interrupted_time_series", analysis_run_id="run_1", method="bayesian", hac_lag=-1)
    assert "hac_lag" in failure(refused), "the row is claimed first, so it shows the error"
    status, message = row(prisma, "run_1")
    assert status == "FAILED"
    assert "hac_lag" in message


def test_the_parameters_of_a_row_are_used(analyses: Analyses, prisma: Database) -> None:
    wanted = """ "analysisType" = 'CHANGE_POINT_DETECTION', "inputParams" = '{"min_size": 5}' """
    prisma.execute(f"UPDATE analysis_runs SET {wanted} WHERE id = 'run_1'")
    assert analyses.run("change_points", analysis_run_id="run_1", factor=2.5).success
    ((_, record),) = records(analyses.settings.paths)
    assert (record.config["min_size"], record.config["factor"]) == (5, 2.5)
    assert row(prisma, "run_1", 'status::text, "inputParams"') == ("COMPLETED", record.config)

    prisma.execute(f"UPDATE analysis_runs SET {wanted}, status = 'PENDING', \"mlflowRunId\" = NULL WHERE id = 'run_1'")
    contradictory = analyses.run("change_points", analysis_run_id="run_1", min_size=6)
    assert "row 'run_1' asks for something else than this run: min_size is 5, not 6" in failure(contradictory)
    assert row(prisma, "run_1", 'status::text, "inputParams"') == ("FAILED", {"min_size": 5})
