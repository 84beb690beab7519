"""The list of analyses: whatever became of them, in MLflow and in the archive."""

import pytest

from americano_pipelines.mlflow_store.analysis_run import analysis_run
from americano_pipelines.mlflow_store.runs import HASH_TAG, SERVICE, get_or_create_parent_run
from americano_pipelines.provenance.run_listing import ListedRun, list_runs
from americano_pipelines_tests.provenance.conftest import Lab, altered, run_id


def listed(lab: Lab) -> dict[str, ListedRun]:
    return {listed_run.mlflow_run_id: listed_run for listed_run in list_runs(lab.settings, lab.store)}


def test_every_analysis_with_what_became_of_it_newest_first(lab: Lab) -> None:
    first = lab.analyse(row="run_1")
    tags = {"service": SERVICE, "dagster.asset_key": "analysis/change_points", "dagster.partition": "protocol_0"}
    parent = get_or_create_parent_run(lab.store, lab.settings, "fails", "job", {})
    with (
        pytest.raises(ValueError, match="no"),
        analysis_run(lab.store, parent, "a title", tags) as failed,
    ):
        raise ValueError("no")
    running = lab.store.client.create_run(lab.store.experiment_id, tags=tags | {"mlflow.parentRunId": parent})
    deleted = lab.analyse("change_points", dagster_run="later deleted")
    lab.store.client.delete_run(run_id(deleted))

    runs = list_runs(lab.settings, lab.store)

    assert [listed_run.mlflow_run_id for listed_run in runs] == [
        run_id(deleted), running.info.run_id, failed.run_id, run_id(first)
    ]  # fmt: skip
    assert [listed_run.status for listed_run in runs] == ["gone", "RUNNING", "FAILED", "FINISHED"]
    assert parent not in listed(lab)
    oldest = runs[-1]
    assert (oldest.analysis, oldest.protocol_id, oldest.protocol) == ("abab_randomization", "protocol_1", "Protocol 1")
    assert (oldest.verdict, oldest.standing, oldest.record) == (first.record.verdict, "exploratory", first.sha256)
    assert (oldest.analysis_run_id, oldest.dagster_run_id) == ("run_1", first.record.orchestrator["dagster_run_id"])
    assert (runs[2].analysis, runs[2].protocol, runs[2].record) == ("change_points", "Protocol 0", None)
    assert (runs[0].analysis, runs[0].verdict, runs[0].record) == ("change_points", None, deleted.sha256)


def test_without_a_published_file_protocols_go_by_their_ids(lab: Lab) -> None:
    recorded = lab.analyse()
    aside = lab.settings.paths.published.with_suffix(".aside")
    lab.settings.paths.published.rename(aside)
    try:
        assert listed(lab)[run_id(recorded)].protocol == "protocol_1"
    finally:
        aside.rename(lab.settings.paths.published)

    with altered(recorded.path, b"{}"):
        run = listed(lab)[run_id(recorded)]
    assert (run.status, run.record, run.verdict) == ("FINISHED", None, None)


def test_a_record_that_its_run_does_not_name_is_none(lab: Lab) -> None:
    recorded = lab.analyse()
    lab.store.client.set_tag(run_id(recorded), HASH_TAG, "unknown")

    run = listed(lab)[run_id(recorded)]

    assert (run.status, run.record, run.verdict) == ("FINISHED", None, None)
