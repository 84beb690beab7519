"""Finding the record that somebody names."""

import secrets
from collections.abc import Callable

import pytest

from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.provenance.record_lookup import find_record
from americano_pipelines.settings import Settings
from americano_pipelines_tests.provenance.records import kept_record


@pytest.fixture
def settings(settings_for: Callable[..., Settings]) -> Settings:
    return settings_for()


def test_each_of_its_names_finds_a_record(settings: Settings) -> None:
    sha256, record = kept_record(settings, row="row 1", mlflow_run="0123456789abcdef0123456789abcdef")
    kept_record(settings, row="row 2", mlflow_run="m2")

    for name in (sha256, sha256[:8], sha256[:8].upper(), "row 1", "0123456789abcdef0123456789abcdef"):
        assert find_record(settings.paths, name) == (sha256, record)
    for name in (sha256[:7], "row", "no such name", "f" * 64, ""):
        with pytest.raises(AnalysisError, match="has no record of"):
            find_record(settings.paths, name)


def test_of_a_row_that_was_carried_out_again_the_last_is_found(settings: Settings) -> None:
    # Several, for they lie in no order in the archive.
    for name in map(str, range(8)):
        for hour in (9, 11, 10):
            kept_record(settings, row=name, mlflow_run=f"m{hour}", ended_at=f"2025-05-01T{hour:02}:00:00+00:00")

    assert {find_record(settings.paths, str(name))[1].tracking["run_id"] for name in range(8)} == {"m11"}


def test_a_hash_that_is_not_told_in_full_enough_names_those_it_may_be(settings: Settings) -> None:
    first, _ = kept_record(settings)
    other = first[:8] + secrets.token_hex(28)
    (settings.paths.records / f"{other}.json").write_text("another")

    with pytest.raises(AnalysisError, match=f"2 records have a hash that begins with {first[:8]}"):
        find_record(settings.paths, first[:8])


def test_a_record_that_was_changed_says_so(settings: Settings) -> None:
    sha256, _ = kept_record(settings)
    path = settings.paths.records / f"{sha256}.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"It helped.", b"It harmed."))

    with pytest.raises(TamperedError, match="was changed after it was written"):
        find_record(settings.paths, sha256[:8])
    with pytest.raises(AnalysisError, match="has no record of 'run_0'"):
        find_record(settings.paths, "run_0")


def test_the_beginning_of_a_run_or_a_row_finds_its_record(settings: Settings) -> None:
    kept_record(settings, row="cmrow0001aaaa", mlflow_run="aaaabbbb0001", ended_at="2025-05-01T09:00:00+00:00")
    last, _ = kept_record(
        settings, row="cmrow0001aaaa", mlflow_run="aaaabbbb0002", ended_at="2025-05-01T10:00:00+00:00"
    )
    other, _ = kept_record(settings, row="cmrow0002bbbb", mlflow_run="ccccdddd0001")

    assert find_record(settings.paths, "cmrow0001")[0] == last
    assert find_record(settings.paths, "ccccdddd")[0] == other
    with pytest.raises(
        AnalysisError, match="2 analyses have an id that begins with aaaabbbb: aaaabbbb0001, aaaabbbb0002"
    ):
        find_record(settings.paths, "aaaabbbb")
    with pytest.raises(AnalysisError, match="has no record of"):
        find_record(settings.paths, "cmrow00")


def test_a_dagster_run_finds_its_record_and_names_several(settings: Settings) -> None:
    sha256, _ = kept_record(settings, dagster_run="0a1b2c3d-aaaa")
    both = [
        kept_record(settings, dagster_run="4e5f6a7b-bbbb", mlflow_run=name, analysis=name)[0][:8]
        for name in ("abab_randomization", "change_points")
    ]

    assert find_record(settings.paths, "0a1b2c3d")[0] == find_record(settings.paths, "0a1b2c3d-aaaa")[0] == sha256
    with pytest.raises(AnalysisError, match=rf"{both[0]} \(abab_randomization\), {both[1]} \(change_points\)"):
        find_record(settings.paths, "4e5f6a7b")
    with pytest.raises(AnalysisError, match="has no record of"):
        find_record(settings.paths, "0a1b2c3")
