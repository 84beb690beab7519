"""Identifiers and texts arrive unchanged in both engines."""

import ast
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from americano_pipelines.common import sql
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines.sources.postgres_snapshot import literal
from americano_pipelines_tests.conftest import Server

# Postgres cuts a name off at 63 bytes; 15 characters are at most 60.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def cursor(server: Server) -> Iterator[Any]:
    with closing(server.connect("postgres")) as link, link.cursor() as cursor:
        yield cursor


@given(name=NAMES)
def test_a_quoted_name_is_that_name_in_both_engines(name: str, duck: duckdb.DuckDBPyConnection, cursor: Any) -> None:
    statement = f"SELECT 1 AS {sql.quote(name)}"
    cursor.execute(statement)

    assert cursor.description[0].name == name
    assert duck.execute(statement).description[0][0] == name


@given(text=TEXTS)
def test_an_escaped_text_is_that_text_in_both_engines(text: str, duck: duckdb.DuckDBPyConnection, cursor: Any) -> None:
    statement = f"SELECT '{sql.escape(text)}'"
    cursor.execute(statement)

    assert cursor.fetchone() == duck.execute(statement).fetchone() == (text,)


@given(texts=st.lists(TEXTS, max_size=3))
def test_an_array_literal_holds_those_texts(texts: list[str], cursor: Any) -> None:
    cursor.execute(f"SELECT {literal(texts)}")

    assert cursor.fetchone() == (texts,)


def test_a_path_of_names_is_quoted_part_by_part() -> None:
    assert sql.quote("a.b", 'c"d') == '"a.b"."c""d"'


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_no_engine_accepts_as_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an identifier"):
        sql.quote("analytics", name)


def test_a_fragment_with_braces_is_not_rendered_again() -> None:
    assert sql.render("SELECT {column}", column='"{other}"') == 'SELECT "{other}"'


def test_no_statement_needs_md5_which_servers_may_forbid() -> None:
    package = PROJECT_ROOT / "americano_pipelines"
    texts = [
        (path, line.partition("--")[0])
        for path in package.rglob("*.sql")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append((path, node.value))
            elif isinstance(node, ast.Attribute):
                texts.append((path, node.attr))

    assert len({path for path, _ in texts}) > 100
    # There it is the name of a way to log in, which an address may ask for.
    login = package / "settings" / "postgres_url.py"
    places = [path for path, text in texts if re.search(r"\bmd5\b", text, re.IGNORECASE)]
    assert places == [login]
