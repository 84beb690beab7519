"""The benchmark measures everything it announces, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from americano_pipelines.bench.sync_benchmark import PLAN


def test_bench_measures_its_plan_and_cleans_up(americano: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    done = americano("bench", "sync", "--rows", "20000", "--json")

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["rows"] == 20000
    assert [line["what"] for line in result["measured"]] == list(PLAN)
    assert all(line["seconds"] > 0 for line in result["measured"])
    assert {line["budget"] for line in result["measured"]} == {None}, "so few rows say nothing about a budget"
    assert not list((tmp_path / "data").glob(".tmp-bench-*"))
