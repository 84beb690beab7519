"""A fifth source table is one contract, one setting and its SQL: added to a copy of the project, and synced."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from americano_pipelines.settings import PROJECT_ROOT, Settings
from americano_pipelines.sources.contracts import CONTRACTS
from americano_pipelines_tests.conftest import Database, environment

CONTRACT = """
SURVEYS = TableContract(
    name="survey_answers",
    description="One answer to a survey.",
    source_names=("survey_answers", "SurveyAnswer"),
    roles=(
        Role("id", "Identifies the answer.", ("id", "answer_id")),
        Role("learner", "Who answered.", _LEARNER),
        Role("time", "When, UTC.", ("answered_at",), required=True),
        Role("score", "The answer.", ("score",)),
    ),
    sort_role="time",
    by_month=True,
)

CONTRACTS = (EVENTS, PROTOCOLS, PHASES, RUNS, SURVEYS)
"""
SETTING = """
    survey_answers_parquet: Annotated[str | None, AfterValidator(check_path)] = Field(
        default=None, description="Parquet mode: the surveys' export; a file, a folder or a glob."
    )
    duckdb_use_postgres_scanner: bool = Field("""
MODEL = """
MODELS = (
    Model(
        "survey_answers",
        "Answers under canonical column names.",
        ("survey_answers",),
        columns={
            "answer_id": "Id.",
            "learner_id": "Who answered.",
            "answered_at": "When, UTC.",
            "score": "The score.",
        },
    ),"""
QUERY = """
SELECT
    CAST({id} AS VARCHAR) AS answer_id,
    CAST({learner} AS VARCHAR) AS learner_id,
    CAST({time} AS TIMESTAMP) AS answered_at,
    CAST({score} AS DOUBLE) AS score
FROM analytics.survey_answers
"""
TABLE = """
CREATE TABLE "SurveyAnswer" ("answerId" text PRIMARY KEY, "userId" text, "answeredAt" timestamp(3), score integer);
INSERT INTO "SurveyAnswer"
SELECT 'answer-' || n, 'learner-' || n % 3, timestamp '2025-01-20' + n * interval '1 day', n * n
FROM generate_series(1, 30) AS n;
GRANT SELECT ON "SurveyAnswer" TO americano_sync
"""
ANSWERS = "SELECT answer_id, learner_id, answered_at, score FROM research.survey_answers ORDER BY answered_at"


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a fifth table."""
    root = tmp_path_factory.mktemp("project")
    for name in ("americano_pipelines", "dagster_home"):
        ignored = shutil.ignore_patterns("history", "storage", "schedules")
        shutil.copytree(PROJECT_ROOT / name, root / name, ignore=ignored)
    shutil.copy(PROJECT_ROOT / "pyproject.toml", root)
    package = root / "americano_pipelines"
    _replace(package / "sources" / "contracts.py", "\nCONTRACTS = (EVENTS, PROTOCOLS, PHASES, RUNS)\n", CONTRACT)
    _replace(package / "settings" / "environment.py", "\n    duckdb_use_postgres_scanner: bool = Field(", SETTING)
    _replace(package / "warehouse" / "research_models.py", "\nMODELS = (", MODEL)
    (package / "warehouse" / "sql" / "survey_answers.sql").write_text(QUERY, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "way", ["postgres", *(pytest.param(way, marks=pytest.mark.slow) for way in ("scanner", "parquet"))]
)
def test_a_fifth_table_is_synced(extended: Path, prisma: Database, tmp_path: Path, way: str) -> None:
    prisma.execute(TABLE)
    expected = prisma.execute('SELECT "answerId", "userId", "answeredAt", score FROM "SurveyAnswer" ORDER BY 3')
    variables: dict[str, Any] = prisma.variables(duckdb_use_postgres_scanner=way == "scanner")
    if way == "parquet":
        file = tmp_path / "answers.parquet"
        with duckdb.connect() as connection:
            connection.execute(
                """COPY (SELECT 'answer-' || n AS "answerId", 'learner-' || n % 3 AS "userId", CAST(n * n AS INTEGER)
                AS score, TIMESTAMP '2025-01-20' + to_days(CAST(n AS INTEGER)) AS "answeredAt" FROM range(1, 31) t(n))
                TO $file (FORMAT parquet)""",
                {"file": str(file)},
            )
        variables = {"survey_answers_parquet": file}

    synced = _sync(extended, tmp_path / "data", **variables)

    assert synced.returncode == 0, synced.stderr
    with duckdb.connect(str(tmp_path / "data" / "duckdb" / "americano.duckdb"), read_only=True) as connection:
        assert connection.execute(ANSWERS).fetchall() == expected
        assert connection.execute("SELECT count(*) FROM analytics.survey_answers").fetchall() == [(30,)]
        (document,) = connection.execute("SELECT document FROM meta.snapshot").fetchone() or ("{}",)
    checks = [check for check in json.loads(document)["checks"] if check["table"] == "survey_answers"]
    assert {check["name"]: check["passed"] for check in checks} == dict.fromkeys(
        ("reconciled", "id_unique", "time_not_null", "times_plausible"), True
    )
    assert len(json.loads(document)["tables"]["survey_answers"]["figures"]) == 2


def test_the_setting_of_a_fifth_table_may_not_lead_into_the_lake(extended: Path, tmp_path: Path) -> None:
    lake = tmp_path / "data" / "parquet"

    synced = _sync(extended, tmp_path / "data", survey_answers_parquet=lake / "survey_answers")

    assert synced.returncode != 0
    assert f"SURVEY_ANSWERS_PARQUET: leads into {lake}" in synced.stderr


def test_each_contract_has_its_setting() -> None:
    variables = [name.removesuffix("_parquet") for name in Settings.model_fields if name.endswith("_parquet")]

    assert variables == [contract.name for contract in CONTRACTS]


def _sync(project: Path, data_dir: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run the command of a copy of the project."""
    return subprocess.run(
        [sys.executable, "-c", "from americano_pipelines.cli import main; main()", "sync", "--json"],
        env=environment(data_dir, **variables) | {"PYTHONPATH": str(project)},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _replace(file: Path, text: str, replacement: str) -> None:
    content = file.read_text(encoding="utf-8")
    assert content.count(text) == 1
    file.write_text(content.replace(text, replacement), encoding="utf-8")
