"""The benchmarks measure everything they announce, and leave nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from americano_pipelines.bench import command_benchmark
from americano_pipelines.bench.query_benchmark import PUBLISHED, QUERIES
from americano_pipelines.bench.serving_benchmark import PLAN as SERVING_PLAN
from americano_pipelines.bench.sync_benchmark import PLAN
from americano_pipelines.bench.sync_peers import peers


@pytest.mark.slow
def test_bench_measures_its_plan_and_cleans_up(americano: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    done = americano("bench", "sync", "--rows", "20000", "--json", "--peers")

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["rows"] == 20000
    # dlt is not among the development tools.
    of_peers = [f"{kind}: {name}" for name in peers() for kind in ("just the copy", "same result")]
    assert "same result: pandas" in of_peers
    assert [line["what"] for line in result["measured"]] == [*PLAN, *of_peers]
    assert all(line["seconds"] > 0 for line in result["measured"])
    assert {line["budget"] for line in result["measured"]} == {None}, "so few rows say nothing about a budget"
    assert not list((tmp_path / "data").glob(".tmp-bench-*"))


@pytest.mark.slow
def test_bench_times_every_query_whose_answers_agree(
    americano: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    chart = tmp_path / "queries.png"

    done = americano("bench", "queries", "--rows", "200000", "--json", "--chart", str(chart))

    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)["queries"]
    assert [line["title"] for line in lines] == [query.title for query in QUERIES]
    assert all(line["rows"] > 0 and line["warm_ms"][PUBLISHED] > 0 and line["target"] is None for line in lines)
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "data").glob(".tmp-bench-*"))


@pytest.mark.slow
def test_bench_times_commands_beside_what_they_need(americano: Callable[..., CompletedProcess[str]]) -> None:
    done = americano("bench", "commands", "--json", timeout=600)

    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)["measured"]
    assert [line["what"] for line in lines] == list(command_benchmark.PLAN)
    assert all(line["seconds"] > 0 for line in lines)
    assert [line["within"] is None for line in lines] == [line["against"] == "" for line in lines]


@pytest.mark.slow
def test_bench_measures_the_api_without_its_peer_where_it_is_absent(
    americano: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    done = americano("bench", "serving", "--rows", "5000", "--json", "--check", path="/usr/bin:/bin")

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["measured"]
    peer = {name for name in SERVING_PLAN if "Datasette" in name}
    assert [figure["what"] for figure in figures] == [name for name in SERVING_PLAN if name not in peer]
    positive = [figure for figure in figures if not figure["what"].startswith(("added", "more memory"))]
    assert all(figure["value"] > 0 for figure in positive)
    assert {figure["target"] for figure in figures} == {None}, "so few rows say nothing about a target"
    assert not list((tmp_path / "data").glob(".tmp-bench-*"))
