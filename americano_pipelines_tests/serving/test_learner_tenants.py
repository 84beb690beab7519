"""Which tenant a learner belongs to: a file or a column, and what happens when it changes."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.errors import ConfigError
from americano_pipelines.serving.learner_tenants import TenantMapping
from americano_pipelines.settings import Settings
from americano_pipelines_tests.serving.conftest import Api
from americano_pipelines_tests.warehouse.helpers import write_parquet


def learners(api: Api, *tenants: str) -> set[str]:
    return {row["learner_id"] for row in api.rows("/v1/protocols", api.key("read", tenants=tenants))}


def test_a_file_maps_learners_and_counts_again_when_it_changes(
    example: Settings, serve: Callable[..., Api], tmp_path: Path
) -> None:
    file = tmp_path / "tenants.csv"
    file.write_text("learner_id,tenant\nlearner-1,a\nlearner-2,a\nlearner-3,b\n,a\nlearner-4,\n")
    api = serve(example, americano_tenants=file)
    key = api.key("read", tenants=("a",))
    tag = api.get("/v1/protocols", key).headers["etag"]

    assert learners(api, "a") == {"learner-1", "learner-2"}
    assert learners(api, "a", "b") == {"learner-1", "learner-2", "learner-3"}
    assert learners(api, "") == learners(api, "A") == set()

    file.write_text("learner_id,tenant\nlearner-2,a\n")
    time.sleep(0.3)

    assert learners(api, "a") == {"learner-2"}
    assert api.get("/v1/protocols", key, if_none_match=tag).status_code == 200


def test_a_parquet_file_maps_learners(example: Settings, serve: Callable[..., Api], tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "tenants.parquet", "SELECT 'learner-5' AS learner_id, 7 AS tenant")

    assert learners(serve(example, americano_tenants=file), "7") == {"learner-5"}


def test_without_a_mapping_tenants_match_nobody(example: Settings, serve: Callable[..., Api]) -> None:
    assert learners(serve(example), "school-1") == set()


@pytest.mark.parametrize(
    "place",
    [
        "nothing.school",
        *(
            pytest.param(place, marks=pytest.mark.slow)
            for place in ("experiment_protocols.nothing", "analysis_runs.status")
        ),
    ],
)
def test_a_column_that_is_not_there_shows_nothing(example: Settings, serve: Callable[..., Api], place: str) -> None:
    api = serve(example, americano_tenants=place)

    answer = api.get("/v1/protocols", api.key("read", tenants=("school-1",)))

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "AMERICANO_TENANTS" in answer.json()["detail"]


@pytest.mark.parametrize("place", ["nothing.csv", "nothing", "table.", ".column"])
def test_a_mapping_that_can_be_none_stops_the_start(place: str) -> None:
    with pytest.raises(ConfigError, match="AMERICANO_TENANTS"):
        TenantMapping.configured(place)
