"""Default folders, and folders that are refused."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import PROJECT_ROOT, DataFolder, Settings, load_settings
from americano_pipelines.sources.contracts import CONTRACTS

TABLES = [contract.name for contract in CONTRACTS]


PROPERTIES = [name for name, member in vars(DataFolder).items() if isinstance(member, property)]


def places(settings: Settings) -> dict[str, str]:
    """Every path of a data folder, by its name."""
    values = {name: getattr(settings.paths, name) for name in ("root", "published", "dagster_home", *PROPERTIES)}
    paths = {name: str(path) for name, path in values.items() if isinstance(path, Path)}
    return paths | {table: str(settings.parquet_input(table)) for table in TABLES}


def test_every_default_path_lies_under_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings(americano_data_dir=tmp_path / "one")
    paths = places(settings)

    assert all(Path(place).is_relative_to(tmp_path / "one") for place in paths.values())
    assert len(set(paths.values())) == len(paths)
    assert settings.tracking_uri == f"sqlite:///{paths['mlflow_database']}"


def test_a_published_file_elsewhere_has_snapshots_and_lock_beside_it(tmp_path: Path) -> None:
    paths = load_settings(americano_data_dir=tmp_path / "data", duckdb_db_path=tmp_path / "here" / "a.duckdb").paths

    assert paths.snapshots == tmp_path / "here" / "snapshots"
    assert paths.published_lock == tmp_path / "here" / ".a.duckdb.lock"
    assert paths.writer_lock == tmp_path / "data" / "sync.lock"
    assert {tmp_path / "here", paths.snapshots, paths.lake, paths.root} <= set(paths.temporary_parents)
    assert len(paths.temporary_parents) == len(set(paths.temporary_parents))


def test_two_data_folders_share_no_default_path(tmp_path: Path) -> None:
    first, second = (places(load_settings(americano_data_dir=tmp_path / name)) for name in ("one", "two"))

    assert set(first.values()).isdisjoint(second.values())


def test_relative_paths_start_at_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(
        americano_data_dir="some/data",
        duckdb_db_path="a/b.duckdb",
        dagster_home="home",
        behavioral_events_parquet="in/*.parquet",
    )

    assert settings.paths.root == PROJECT_ROOT / "some/data"
    assert settings.paths.published == PROJECT_ROOT / "a/b.duckdb"
    assert settings.paths.dagster_home == PROJECT_ROOT / "home"
    assert settings.parquet_input("behavioral_events") == PROJECT_ROOT / "in/*.parquet"
    assert load_settings().paths.root == PROJECT_ROOT / "data"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(
        americano_data_dir="~/data", duckdb_db_path="~/a.duckdb", behavioral_events_parquet="~/e.parquet"
    )

    assert settings.paths.root == tmp_path / "data"
    assert settings.paths.published == tmp_path / "a.duckdb"
    assert settings.parquet_input("behavioral_events") == tmp_path / "e.parquet"
    assert load_settings(duckdb_db_path="~nobody-of-that-name/a.duckdb").paths.published.is_relative_to(PROJECT_ROOT)


@pytest.mark.parametrize("variable", ["AMERICANO_DATA_DIR", "DAGSTER_HOME"])
@pytest.mark.parametrize("place", ["/", "/tmp", "/tmp/", "/var/tmp/../tmp", "/usr", "/home", "~", "~/..", "{link}"])  # noqa: S108
def test_a_folder_of_the_machine_or_a_home_is_refused(
    variable: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users" / "me").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/tmp")  # noqa: S108
    monkeypatch.setenv("HOME", str(tmp_path / "users" / "me"))
    monkeypatch.setenv(variable, place.format(link=tmp_path / "link"))

    with pytest.raises(ConfigError, match=rf"^{variable}: .* is a folder that others use too; name a folder in it"):
        load_settings()

    monkeypatch.setenv(variable, f"{place.format(link=tmp_path / 'link')}/americano")
    load_settings()


@pytest.mark.parametrize("name", ["analytics.duckdb", "deep/Analytics.DuckDB"])
def test_a_file_called_like_our_schema_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(duckdb_db_path=name)

    assert str(refused.value).startswith("DUCKDB_DB_PATH: ")
    assert "refuses analytics.behavioral_events as ambiguous" in str(refused.value)
    assert "americano.duckdb" in str(refused.value)


@pytest.mark.parametrize(
    "name", ["research.duckdb", "meta.duckdb", "memory.duckdb", "source.duckdb", "x.db", ".duckdb", "x.DUCKDB"]
)
def test_other_names_that_cannot_be_served_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^DUCKDB_DB_PATH: "):
        load_settings(duckdb_db_path=name)


@pytest.mark.parametrize(
    "location",
    [
        "data/parquet/behavioral_events/2025-01/a.parquet",
        "data/parquet",
        "data/parquet/",
        "data/parquet/*/*.parquet",
        "data/exports/../parquet/x.parquet",
        "link/x.parquet",
        "data",
        "",
        "data/**/*.parquet",
        "d*/p*/behavioral_events/*/*.parquet",
        "link/*.parquet",
    ],
)
@pytest.mark.parametrize("table", TABLES)
def test_inputs_of_others_that_lead_into_our_own_lake_are_refused(tmp_path: Path, location: str, table: str) -> None:
    (tmp_path / "data" / "parquet").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data" / "parquet")

    with pytest.raises(ConfigError, match=rf"^{table.upper()}_PARQUET: .*our own exports"):
        load_settings(americano_data_dir=tmp_path / "data", **{f"{table}_parquet": str(tmp_path / location)})


@pytest.mark.parametrize(
    "location",
    ["data/exports/*.parquet", "data/parquet_of_others", "data/*.parquet", "other/**/*.parquet", "data/e*/**"],
)
def test_inputs_beside_our_own_lake_are_fine(tmp_path: Path, location: str) -> None:
    settings = load_settings(americano_data_dir=tmp_path / "data", behavioral_events_parquet=str(tmp_path / location))

    assert settings.parquet_input("behavioral_events") == tmp_path / location


@pytest.mark.parametrize("variable", ["duckdb_db_path", "dagster_home"])
def test_nothing_that_must_stay_lies_in_the_lake_which_is_swept(
    variable: str, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"^{variable.upper()}: lies inside .*from which a sync removes"):
        settings_for(**{variable: tmp_path / "data" / "parquet" / "x.duckdb"})


@pytest.mark.parametrize("odd", ["%", "?"])
def test_folders_that_dagster_cannot_make_an_address_of_are_refused(odd: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"^AMERICANO_DATA_DIR: .* contains {re.escape(odd)}, which has a special meaning"
    ):
        load_settings(americano_data_dir=tmp_path / f"50{odd}25")
    with pytest.raises(ConfigError, match=rf"^DAGSTER_HOME: .* contains {re.escape(odd)}, which has a special meaning"):
        load_settings(dagster_home=tmp_path / f"50{odd}25")
    assert load_settings(americano_data_dir=tmp_path / f"50{odd}25", dagster_home=tmp_path / "home").paths.root.name
