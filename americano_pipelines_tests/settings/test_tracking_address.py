"""`MLFLOW_TRACKING_URI`: valid addresses, and where a relative one starts."""

from pathlib import Path

import pytest

from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import PROJECT_ROOT, load_settings

WRONG = [
    ("foo", "is a folder, or no address"),
    ("./mlruns", "is a folder, or no address"),
    ("/var/lib/mlruns", "is a folder, or no address"),
    ("file:///var/lib/mlruns", "MLflow 3 has no store in a folder of files"),
    ("databricks", "no address that MLflow knows"),
    ("databricks://team", "not an MLflow server or store"),
    ("gopher://tracking", "not an MLflow server or store"),
    ("postgres://u:hush@h/d", "not an MLflow server or store"),
    ("http://", "names no host"),
    ("https:///path", "names no host"),
    ("http://u:hush@h:99999", "from 1 to 65535"),
    ("http://u:hush@h:0", "from 1 to 65535"),
    ("sqlite://", "names no file"),
    ("sqlite:runs.db", "names no file"),
    ("sqlite:///:memory:", "names no file"),
    ("sqlite+aiosqlite:///x.db", "sqlite driver that MLflow cannot use"),
    ("sqlite:////tmp", "is a folder"),
    ("mysql://u:hush@h/d", "MySQLdb, which is not installed"),
    ("mysql+pymysql://u:hush@h/d", "pymysql, which is not installed"),
    ("mssql+pyodbc://u:hush@h/d", "pyodbc, which is not installed"),
    ("postgresql+psycopg2://u:hush@h", "names no database"),
    ("postgresql+psycopg2:///d", "names no host"),
    ("postgresql+psycopg2://u:hush@h:x/d", "cannot be parsed"),
    ("postgresql+nothing://u:hush@h/d", "a driver that is unknown"),
    # The scheme is missing, or the password not percent-encoded.
    ("hush@127.0.0.1:5000", "not an MLflow server or store"),
    ("hush:x@127.0.0.1:5000", "not an MLflow server or store"),
    ("sqlite+hush@h:///x.db", "sqlite driver that MLflow cannot use"),
    ("postgresql+hush@h://d", "a driver that is unknown"),
    ("http://u:1/hush@h:5000", "percent-encoded"),
    ("http://u:1?hush@h:5000", "percent-encoded"),
    ("http://u:1#hush@h:5000", "percent-encoded"),
]


@pytest.mark.parametrize(("address", "words"), WRONG)
def test_an_address_that_means_nothing_is_refused(address: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_URI: ") as refused:
        load_settings(mlflow_tracking_uri=address)

    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1:5000", "https://u:p@tracking.example.org/below/", "sqlite:////var/lib/runs.db?timeout=5"),
        *("postgresql+psycopg2://u:p@h:6543/d", "postgresql+psycopg2:///d?host=/run/postgresql"),
    ],
)
def test_one_that_means_something_is_handed_on(address: str) -> None:
    assert load_settings(mlflow_tracking_uri=address).tracking_uri == address


def test_a_relative_store_starts_at_the_projects_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert (
        load_settings(mlflow_tracking_uri="sqlite:///x/runs.db").tracking_uri == f"sqlite:///{PROJECT_ROOT}/x/runs.db"
    )
    assert load_settings(mlflow_tracking_uri="sqlite:///~/runs.db").tracking_uri == f"sqlite:///{tmp_path}/runs.db"


def test_an_address_without_its_driver_says_which_is_installed() -> None:
    with pytest.raises(ConfigError, match=r"psycopg, which is not installed; write postgresql\+psycopg2://"):
        load_settings(mlflow_tracking_uri="postgresql://u:p@h/d")
