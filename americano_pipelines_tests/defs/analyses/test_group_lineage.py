"""The lineage of a combined analysis: the edge to the tests whose records it reads makes nothing stale."""

from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.protocol_partitions import GROUPS, PROTOCOLS
from americano_pipelines.settings import load_settings

_TESTS, _COMBINED = dg.AssetKey(["analysis", "abab_randomization"]), dg.AssetKey(["analysis", "combined"])


def test_a_later_analysis_of_a_protocol_makes_no_combination_stale(tmp_path: Path) -> None:
    graph = build_defs(load_settings(americano_data_dir=str(tmp_path))).resolve_asset_graph()
    assert _TESTS in graph.get(_COMBINED).parent_keys
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(PROTOCOLS.name), ["p0", "p1"])
        instance.add_dynamic_partitions(str(GROUPS.name), ["study"])
        for table in graph.get(_COMBINED).parent_keys - {_TESTS}:
            instance.report_runless_asset_event(dg.AssetMaterialization(table))
        for key, partition in ((_TESTS, "p0"), (_COMBINED, "study"), (_TESTS, "p0"), (_TESTS, "p1")):
            instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))

        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))

        assert list(resolver.get_stale_causes(_COMBINED, "study")) == []
        assert resolver.get_status(_COMBINED, "study") is StaleStatus.FRESH
