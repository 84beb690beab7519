"""What Dagster remembers of a record, of a run that materialized more than once."""

from collections.abc import Callable

import dagster as dg

from americano_pipelines.defs.analyses.analysis_metadata import (
    materialization_hashes,
    page_links,
    recorded_hashes,
)
from americano_pipelines.defs.run_tags import LEGACY_RECORD_SHA256, RECORD_SHA256
from americano_pipelines.settings import Settings
from americano_pipelines_tests.provenance.records import kept_record


def test_the_runs_materializations_of_the_asset_and_partition_count(
    settings_for: Callable[..., Settings],
) -> None:
    settings = settings_for()
    materializations = [
        ("change_points", "protocol_0", {RECORD_SHA256: "first"}),
        ("change_points", "protocol_0", {RECORD_SHA256: "sec ond"}),
        ("change_points", "protocol_0", {LEGACY_RECORD_SHA256: "earlier"}),
        ("change_points", "protocol_0", {"no": "hash"}),
        ("change_points", "protocol_1", {RECORD_SHA256: "another protocol's"}),
        ("abab_randomization", "protocol_0", {RECORD_SHA256: "another analysis's"}),
    ]

    @dg.op
    def analyse(context: dg.OpExecutionContext) -> None:
        for name, partition, metadata in materializations:
            context.log_event(dg.AssetMaterialization(["analysis", name], partition=partition, metadata=metadata))

    @dg.job
    def tried_again() -> None:
        analyse()

    with dg.DagsterInstance.ephemeral() as instance:
        run_id = tried_again.execute_in_process(instance=instance).run_id
        _, record = kept_record(settings, analysis="change_points", dagster_run=run_id)
        _, other = kept_record(settings, analysis="change_points", dagster_run="of another run")

        assert recorded_hashes(instance, record) == ["first", "second", "earlier"]
        assert recorded_hashes(instance, other) == []
    with materialization_hashes(settings) as in_dagster:
        assert in_dagster(record) == [], "there is no home"


def test_links_lead_to_the_pages_where_their_address_is_known() -> None:
    links = page_links("https://results.example.org/", "0a1b", "a protocol/1")

    assert [link.value for link in links.values()] == [
        "https://results.example.org/analyses/0a1b",
        "https://results.example.org/protocols/a%20protocol%2F1",
    ]
    assert list(page_links("https://results.example.org", "0a1b", None)) == ["analysis, in the pages"]
    assert page_links(None, "0a1b", "a protocol") == {}
