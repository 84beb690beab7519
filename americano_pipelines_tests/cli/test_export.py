"""`americano export`: the rows as they are, whole or not at all, and nothing that a spreadsheet would execute."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from americano_pipelines.common.duckdb_session import check_extension
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import table_export
from americano_pipelines_tests.cli.test_experiments import keep
from americano_pipelines_tests.conftest import Database, Done
from americano_pipelines_tests.warehouse.helpers import write_parquet

Cli = Callable[..., Done]
EXCEL = str(check_extension("duckdb-extension-excel"))
MARK = b"\xef\xbb\xbf"


def read(path: Path) -> list[tuple[Any, ...]]:
    """The rows of an exported file."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if path.suffix.lower() == ".xlsx":
            connection.load_extension(EXCEL)
            return connection.execute("FROM read_xlsx($1, header = true)", [str(path)]).fetchall()
        reader = "read_csv" if path.suffix.lower() == ".csv" else "read_parquet"
        return connection.execute(f"FROM {reader}($1)", [str(path)]).fetchall()


@pytest.fixture
def published(publish: Callable[..., None], tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Publish events with columns of a test's own; the settings."""

    def run(columns: str, rows: int = 3) -> dict[str, Any]:
        first = "i::VARCHAR AS id, 'u' AS learner_id, TIMESTAMP '2025-01-05' AS ts"
        query = f"SELECT {first}, {columns} FROM range({rows}) t(i)"
        values = {"behavioral_events_parquet": str(write_parquet(tmp_path / "in" / "events.parquet", query))}
        publish(**values)
        return values

    return run


@pytest.mark.parametrize("name", ["FILE.CSV", "file.parquet", "file.xlsx", "file.Xlsx"])
def test_a_file_has_the_rows_of_the_view(
    prisma: Database, publish: Callable[..., None], cli: Cli, tmp_path: Path, name: str
) -> None:
    values, path = prisma.variables(), tmp_path / "it's" / name
    publish(**values)

    done = cli("export", "research.daily_events", "--to", str(path), "--json", **values)

    assert done.code == 0, done.err
    days = prisma.execute(
        'SELECT "timestamp"::date, count(*), count(DISTINCT "userId") FROM behavioral_events GROUP BY 1'
    )
    assert sorted(read(path)) == sorted(days)
    assert done.json["rows"] == len(days)
    assert done.json["bytes"] == path.stat().st_size
    assert [file.name for file in path.parent.iterdir()] == [name], "nothing else is left"
    shown = cli("export", "research.daily_events", "--to", str(path), "--force", **values)
    assert "`americano purge` does not find this file" in shown.out


def test_a_file_that_is_there_is_replaced_only_by_force(
    published: Callable[[str], dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    values, path = published("1 AS x"), tmp_path / "file.csv"
    path.write_text("mine")

    refused = cli("export", "research.events", "--to", str(path), **values)

    assert (refused.code, path.read_text()) == (2, "mine")
    assert "give --force" in refused.err
    assert cli("export", "research.events", "--to", str(path), "--force", **values).code == 0
    assert len(read(path)) == 3
    assert cli("export", "research.events", "--to", str(tmp_path), "--force", **values).code == 2
    assert cli("export", "research.events", "--to", str(tmp_path / "file.txt"), **values).code == 2


def test_csv_opens_in_excel_with_its_letters_and_executes_nothing(
    published: Callable[[str], dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    texts = ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\uff1d1", "1-1", 'ä, "ü"', "'x"]
    listed = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    values = published(f"""[{listed}][1 + i] AS said, -i AS number, [NULL, '=x'][1 + i % 2] AS "=name" """, len(texts))
    path = tmp_path / "file.csv"

    assert cli("export", "analytics.behavioral_events", "--to", str(path), **values).code == 0

    assert path.read_bytes().startswith(MARK + b"id,")
    assert path.read_bytes().splitlines()[0].endswith(b",'=name")
    exported = {int(row[0]): row for row in read(path)}
    for number, text in enumerate(texts):
        harmless = text if number >= 7 else f"'{text}"
        assert exported[number][3:] == (harmless, -number, "'=x" if number % 2 else None)


def test_excel_keeps_texts_and_values_beyond_its_numbers_and_days(
    published: Callable[[str], dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    columns = """'=1+1' AS formula, 'a' || chr(7) || '<&>' AS odd, 9007199254740993 + i AS wide, i::BIGINT AS narrow,
        [1.5, 'NaN'::DOUBLE, 'Infinity'::DOUBLE][1 + i] AS number,
        [DATE '1850-01-01', NULL, 'infinity'::DATE][1 + i] AS day,
        DATE '2025-02-03' AS good_day, [1, 2] AS parts, true AS yes"""
    values, path = published(columns), tmp_path / "file.xlsx"

    done = cli("export", "analytics.behavioral_events", "--to", str(path), "--json", **values)

    assert done.json["as_text"] == ["wide", "number", "day"]
    exported = {row[0]: row[3:] for row in read(path)}
    assert exported["0"][:4] == ("=1+1", "a\ufffd<&>", "9007199254740993", 0)
    assert [exported[str(i)][4] for i in range(3)] == ["1.5", "nan", "inf"]
    assert [exported[str(i)][5] for i in range(3)] == ["1850-01-01", None, "infinity"]
    assert [str(exported["0"][6])[:10], *exported["0"][7:]] == ["2025-02-03", "[1, 2]", True]
    assert "as text, for Excel" in cli("export", "behavioral_events", "--to", str(path), "--force", **values).out


def test_what_does_not_fit_a_sheet_is_refused_before_writing(
    published: Callable[[str], dict[str, Any]], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, path = (
        published(f"repeat('x', {table_export.MAX_CELL_CHARACTERS} + (i = 1)::INT) AS essay"),
        tmp_path / "f.xlsx",
    )

    long = cli("export", "behavioral_events", "--to", str(path), **values)
    monkeypatch.setattr(table_export, "MAX_SHEET_ROWS", 3)
    many = cli("export", "research.events", "--to", str(path), **values)

    assert (long.code, many.code, path.exists()) == (1, 1, False)
    assert "analytics.behavioral_events has texts of more than 32,767 characters in essay" in long.err
    assert "research.events has 3 rows" in many.err


def test_verdicts_that_the_app_does_not_have_are_said_to_be_missing(
    prisma: Database,
    publish: Callable[..., None],
    settings_for: Callable[..., Settings],
    published: Callable[[str], dict[str, Any]],
    cli: Cli,
    tmp_path: Path,
) -> None:
    values = prisma.variables()
    publish(**values)
    path, settings = str(tmp_path / "verdicts.csv"), settings_for(**values)
    before = cli("export", "research.verdicts", "--to", path, **values)
    keep(settings, "benefit", planned=True, ended="2025-05-02")
    missing = cli("export", "research.verdicts", "--to", path, "--force", **values)
    absent = cli("export", "verdicts", "--to", path, "--force", **published("1 AS x"))

    assert (before.code, missing.code, absent.code) == (0, 0, 1)
    assert "lacks" not in before.err
    assert "research.verdicts lacks 1 recorded verdict: it has" in missing.err
    assert "research.verdicts is not in the published file, because there is no experiment_protocols; `am" in absent.err


def test_a_sheet_holds_the_rows_that_excel_holds() -> None:
    assert (table_export.MAX_SHEET_ROWS, table_export.MAX_SHEET_COLUMNS) == (1_048_576, 16_384)


def test_a_table_is_named_with_its_schema_where_that_is_needed(
    prisma: Database, publish: Callable[..., None], cli: Cli, tmp_path: Path
) -> None:
    values = prisma.variables()
    publish(**values)

    def exported(name: str) -> Done:
        return cli("export", name, "--to", str(tmp_path / "f.csv"), "--force", "--json", **values)

    assert exported("verdicts").json["relation"] == "research.verdicts"
    assert "name research.analysis_runs or analytics.analysis_runs" in exported("analysis_runs").err
    assert exported("meta.checks").json["rows"] > 0
    unknown = exported('x"; DROP TABLE y')
    assert unknown.code == 1
    assert "research.daily_outcomes" in unknown.err


def test_no_file_is_written_into_the_folders_of_the_project(
    published: Callable[[str], dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    values = published("1 AS x")

    for folder in ("parquet", "duckdb/snapshots", "mlflow/artifacts", "extracts"):
        done = cli("export", "research.events", "--to", str(tmp_path / "data" / folder / "f.csv"), **values)
        assert done.code == 1
        assert "whose files this project manages" in done.err


def test_an_export_that_fails_leaves_the_old_file(
    published: Callable[[str], dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    values, path = published("repeat('x', 40000) AS essay"), tmp_path / "out" / "f.xlsx"
    path.parent.mkdir()
    path.write_text("old")

    assert cli("export", "behavioral_events", "--to", str(path), "--force", **values).code == 1

    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["f.xlsx"]


def test_before_the_first_sync_it_says_what_to_do(cli: Cli, tmp_path: Path) -> None:
    done = cli("export", "research.events", "--to", str(tmp_path / "f.csv"))

    assert done.code == 1
    assert "run `americano sync` first" in done.err
