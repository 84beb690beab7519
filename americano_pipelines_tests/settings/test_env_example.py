"""`.env.example` agrees with the settings class and with the Docker Compose file."""

import re

import pytest

from americano_pipelines.settings import PROJECT_ROOT, Settings, load_settings

OF_COMPOSE = "# --- The MLflow server in docker-compose.yml"
EXAMPLE, OTHERS = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8").split(OF_COMPOSE)
LINES = re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE)
ONLY_INSTANCES = set(re.findall(r"For instance:\n# ([A-Z_]+)=", EXAMPLE))
PATHS = {"DUCKDB_DB_PATH": "published", "DAGSTER_HOME": "dagster_home"}


def meaning(settings: Settings, variable: str) -> object:
    if variable.endswith("_PARQUET"):
        return settings.parquet_input(variable.removesuffix("_PARQUET").lower())
    if variable in PATHS:
        return getattr(settings.paths, PATHS[variable])
    return getattr(settings, variable.lower())


def test_every_variable_is_in_the_example_once_and_no_other() -> None:
    assert sorted(name for name, _ in LINES) == sorted(name.upper() for name in Settings.model_fields)


def test_nothing_in_the_example_is_set() -> None:
    assert all(not line or line.startswith("#") for line in f"{EXAMPLE}{OF_COMPOSE}{OTHERS}".splitlines())


@pytest.mark.parametrize(("variable", "value"), LINES, ids=[name for name, _ in LINES])
def test_the_value_shown_is_the_default(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "")
    default = meaning(load_settings(), variable)
    monkeypatch.setenv(variable, value)

    shown = meaning(load_settings(), variable)

    assert (shown == default) is (variable not in ONLY_INSTANCES)


def test_only_what_has_no_default_is_shown_by_an_instance() -> None:
    assert {"DATABASE_URL", "ANALYSIS_RUNS_DATABASE_URL", "AMERICANO_COLUMNS"} == ONLY_INSTANCES


def test_what_compose_reads_is_in_the_example_with_its_defaults() -> None:
    compose = (PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    read = dict(re.findall(r"\$\{([A-Z_]+)(?::-([^}]*)|:\?[^}]*)\}", compose))

    assert dict(re.findall(r"^# ([A-Z_]+)=(.*)$", OTHERS, re.MULTILINE)) == read
