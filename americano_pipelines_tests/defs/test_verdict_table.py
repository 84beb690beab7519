"""The asset of all verdicts: what is reported, how two protocols of one name are told apart, what a purge removes."""

from collections.abc import Callable

import dagster as dg
import pytest

from americano_pipelines.analysis.plan_compliance import PlanCompliance
from americano_pipelines.defs import verdict_table
from americano_pipelines.defs.dagster_erasure import delete_runs
from americano_pipelines.defs.verdict_table import (
    VERDICTS_KEY,
    has_report,
    remove_reports,
    report_texts,
    report_verdicts,
)
from americano_pipelines.provenance.archive import put
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.defs.conftest import Runner
from americano_pipelines_tests.provenance.records import kept_record


def reports(instance: dg.DagsterInstance) -> list[dict[str, str]]:
    """The metadata of each report, newest first."""
    records = instance.fetch_materializations(VERDICTS_KEY, limit=10).records
    events = [record.asset_materialization for record in records]
    return [{name: str(value.value) for name, value in event.metadata.items()} for event in events if event]


def keep(settings: Settings, *, planned: bool, **record: object) -> None:
    """Keep a record of an analysis of `protocol_0`."""
    sha256, kept = kept_record(settings, **record)  # type: ignore[arg-type]
    (settings.paths.records / f"{sha256}.json").unlink()
    compliance = PlanCompliance(
        planned=planned, reasons=() if planned else ("a test",), earlier_runs=0, unrecorded_runs=0, plan_over=True
    )
    metrics = {"p": [(0, 0.012345)], "observed": [(0, 3.14159)], "interval_low": [(0, 1.0)]}
    logged = kept.logged.model_copy(update={"metrics": metrics})
    put(settings.paths.records, kept.model_copy(update={"standing": compliance, "logged": logged}).canonical())


def test_a_sync_reports_each_protocol_and_again_only_what_changed(
    prisma: Database, runner: Callable[..., Runner]
) -> None:
    prisma.execute(
        "UPDATE experiment_protocols SET \"protocolName\" = 'Twice' WHERE id IN ('protocol_0', 'protocol_1')"
    )
    project = runner(persistent=True, **prisma.variables())
    settings, instance = project.settings, project.instance
    assert project.run().success
    (first,) = reports(instance)
    names = [name for name in first if name.startswith("Twice")]
    assert project.run().success
    assert reports(instance) == [first], "nothing changed"

    keep(settings, planned=False, mlflow_run="m0")
    report_verdicts(settings, instance)
    keep(settings, planned=True, mlflow_run="m1", dagster_run="d1")
    report_verdicts(settings, instance)
    keep(settings, planned=False, mlflow_run="m2")
    report_verdicts(settings, instance)
    last, explored, _ = reports(instance)

    assert names == ["Twice", "Twice (protocol_1)"]
    assert first["Twice"].startswith("not analysed. [partition](/assets/analysis/abab_randomization?view=partitions&")
    assert explored["Twice"].startswith("only explored (1). ")
    assert last["Twice"].startswith("**benefit**, effect +3.14 (1.00 to unbounded), p = .012, planned. [partition](")
    assert last["Twice"].endswith("&partition=protocol_0), [run](/runs/d1)")
    assert "| Twice | protocol_0 | benefit | +3.14 | 1.00 to unbounded | .012 | planned |" in (last["all protocols"])
    assert last["Twice (protocol_1)"] == first["Twice (protocol_1)"]


def test_a_purge_reads_the_reports_of_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_table, "_REPORTS_PER_PAGE", 2)
    with dg.DagsterInstance.ephemeral() as instance:
        assert report_texts(instance) == []
        for name in "abcde":
            instance.report_runless_asset_event(dg.AssetMaterialization(VERDICTS_KEY, metadata={"all protocols": name}))

        assert sorted(report_texts(instance)) == ["a", "b", "c", "d", "e"]


@pytest.mark.slow
def test_removed_reports_leave_no_bytes_and_the_next_sync_reports_anew(
    prisma: Database, runner: Callable[..., Runner]
) -> None:
    prisma.execute("UPDATE experiment_protocols SET \"protocolName\" = 'Only theirs' WHERE id = 'protocol_0'")
    project = runner(persistent=True, **prisma.variables())
    assert project.run().success
    files = [path for path in project.settings.paths.dagster_home.rglob("*.db*") if path.is_file()]
    assert [path.name for path in files if b"Only theirs" in path.read_bytes()] != []

    remove_reports(project.instance)
    delete_runs(project.instance, [])

    assert [path.name for path in files if path.exists() and b"Only theirs" in path.read_bytes()] == []
    assert not has_report(project.instance)
    assert project.run().success
    assert has_report(project.instance)
