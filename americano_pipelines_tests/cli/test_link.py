"""`americano link`: a recorded analysis gets into its row, or into one that is made, and nothing else does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.app_database.column_values import derived_row_id
from americano_pipelines.app_database.statements import claim
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.mlflow_store.runs import HASH_TAG
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, Done, free_port
from americano_pipelines_tests.prisma_database import ABAB, link_url, row
from americano_pipelines_tests.provenance.records import kept_record

Cli = Callable[..., Done]


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings], empty_store: Path) -> Settings:
    settings = settings_for(analysis_runs_database_url=link_url(prisma))
    (settings.paths.root / "mlflow").mkdir(parents=True)
    (settings.paths.root / "mlflow" / "mlflow.db").write_bytes(empty_store.read_bytes())
    return settings


@pytest.fixture
def linked(cli: Cli, prisma: Database) -> Cli:
    """The command with the app configured."""
    url = link_url(prisma)
    return lambda *arguments, **values: cli("link", *arguments, **{"analysis_runs_database_url": url} | values)


def recorded(settings: Settings, *, vouched: bool = True, **values: Any) -> tuple[str, str]:
    """A record and its MLflow run; the hash, and the run's id."""
    store = open_store(settings)
    run = store.client.create_run(store.experiment_id, run_name="Protocol 0: randomization test").info.run_id
    sha256, _ = kept_record(settings, mlflow_run=run, **values)
    if vouched:
        store.client.set_tag(run, HASH_TAG, sha256)
    return sha256, run


def had(settings: Settings, status: str, prisma: Database, dagster_run: str = "dagster 1") -> None:
    """Let `run_0` be one that a Dagster run took, in a status."""
    assert settings.app is not None
    assert claim(settings.app, "run_0", dagster_run, ABAB)
    prisma.execute(f"UPDATE analysis_runs SET status = '{status}' WHERE id = 'run_0'")


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "COMPLETED"])
def test_a_row_is_completed_by_any_name_of_its_analysis(
    settings: Settings, linked: Cli, prisma: Database, status: str
) -> None:
    sha256, run = recorded(settings)
    had(settings, status, prisma)

    for name in ("run_0", run, sha256[:8]):
        done = linked(name)
        assert done.code == 0, done.err
        assert done.out.startswith(
            f"record {sha256[:12]}: row run_0 of the app completed; written: status, mlflowRunId"
        )
        assert row(prisma, columns='status::text, "mlflowRunId"') == ("COMPLETED", run)
        prisma.execute("UPDATE analysis_runs SET \"mlflowRunId\" = NULL WHERE id = 'run_0'")


def test_an_analysis_without_a_row_gets_one_if_the_app_has_a_word_for_it(
    settings: Settings, linked: Cli, prisma: Database
) -> None:
    sha256, run = recorded(settings, row=None)

    first = linked(run)
    again = linked(run)

    created_id = derived_row_id("dagster 1", "analysis/abab_randomization", "protocol_0")
    assert first.code == again.code == 0, first.err + again.err
    assert f"record {sha256[:12]}: row {created_id} of the app made; written: status" in first.out
    columns = 'status::text, "analysisType"::text, "protocolId", "runName", "mlflowRunId"'
    assert row(prisma, created_id, columns) == (
        "COMPLETED", "ABAB_RANDOMIZATION", "protocol_0", "Protocol 0: randomization test", run
    )  # fmt: skip
    assert prisma.execute("SELECT count(*) FROM analysis_runs") == [(3,)]
    _, other = recorded(settings, row=None, analysis="training_demo")
    done = linked(other)
    assert done.code == 1
    assert "the app's AnalysisType has no value for this analysis (training_demo)" in done.err


def test_what_must_not_be_written_over_is_left_alone(settings: Settings, linked: Cli, prisma: Database) -> None:
    sha256, _ = recorded(settings)
    done = linked(sha256)
    assert done.code == 1
    assert "row 'run_0' is PENDING again" in done.err
    had(settings, "RUNNING", prisma, "dagster 2")
    assert "row 'run_0' is RUNNING, by Dagster run dagster 2" in linked(sha256).err

    later, _ = recorded(settings, dagster_run="dagster 2", ended_at="2025-05-02T10:00:00+00:00")
    assert f"carried out again after this, at 2025-05-02T10:00:00+00:00 (record {later[:12]})" in linked(sha256).err
    assert linked("run_0").code == 0, "the row's own name means the last"


@pytest.mark.parametrize("change", ["\"protocolId\" = 'protocol_1'", "\"analysisType\" = 'CHANGE_POINT_DETECTION'"])
def test_a_row_that_asks_for_something_else_is_left_alone(
    settings: Settings, linked: Cli, prisma: Database, change: str
) -> None:
    sha256, _ = recorded(settings)
    had(settings, "FAILED", prisma)
    prisma.execute(f"UPDATE analysis_runs SET {change} WHERE id = 'run_0'")
    before = row(prisma, columns="to_jsonb(analysis_runs)")

    done = linked(sha256)

    assert done.code == 1
    assert "not ABAB_RANDOMIZATION, of protocol protocol_0; it is left as it is" in done.err
    assert row(prisma, columns="to_jsonb(analysis_runs)") == before


def test_an_analysis_that_was_not_recorded_to_its_end_is_none_to_link(
    settings: Settings, linked: Cli, prisma: Database
) -> None:
    sha256, run = recorded(settings, vouched=False)
    had(settings, "FAILED", prisma)

    done = linked(sha256)

    assert done.code == 1
    assert f"its MLflow run {run} does not have its hash" in done.err
    assert row(prisma)[0] == "FAILED"


def test_what_is_not_there_or_not_configured_is_told(settings: Settings, cli: Cli, linked: Cli) -> None:
    sha256, _ = recorded(settings)

    assert "has no record of 'nothing'" in linked("nothing").err
    without = cli("link", sha256)
    assert (without.code, without.out) == (2, "")
    assert "ANALYSIS_RUNS_DATABASE_URL" in without.err
    down = linked(sha256, analysis_runs_database_url=f"postgresql://u:secret@127.0.0.1:{free_port()}/d")
    assert down.code == 1
    assert "cannot be reached" in down.err
    assert "secret" not in down.err
