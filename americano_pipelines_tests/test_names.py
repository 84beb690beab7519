"""Names: a module's name stands once in the package, data is named by its noun, names of tests are short."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines_tests.conftest import LONGEST

PACKAGE, TESTS = PROJECT_ROOT / "americano_pipelines", PROJECT_ROOT / "americano_pipelines_tests"
# Words for anything: a list of runs is `runs`, a query's answer `rows`, and a loop over files says `file`.
BANNED = frozenset(
    ("around", "asked", "found", "given", "here", "made", "now", "one", "seen", "stands", "then", "there", "told")
)
MAX_TEST_NAME = 70
# Keys of JSON that others read: the attribute has the key's name.
EXCEPTIONS = {("americano_pipelines/statistics/design_appraisal.py", "found")}


def names_of_data(tree: ast.AST) -> Iterator[str]:
    """Assignment targets, loop variables, parameters and what else a file gives a name to."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case (
                ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.ExceptHandler(name=str(name))
                | ast.alias(asname=str(name))
            ):
                yield name


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["package", "tests"])
def test_data_is_named_by_its_noun(folder: Path) -> None:
    used = {
        (str(file.relative_to(PROJECT_ROOT)), name)
        for file in folder.rglob("*.py")
        for name in names_of_data(ast.parse(file.read_text(encoding="utf-8")))
        if name.strip("_") in BANNED
    }

    assert used - EXCEPTIONS == set()


def test_tests_mirror_the_package() -> None:
    folders = {file.parent.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"}

    missing = {folder for folder in folders if not list((TESTS / folder).glob("test_*.py"))}

    assert missing == set()


def test_no_placeholder_is_left_in_the_package() -> None:
    placeholders = {
        (str(file.relative_to(PACKAGE)), word)
        for file in PACKAGE.rglob("*")
        if file.suffix in {".py", ".sql", ".html", ".css", ".js"}
        for word in ("@@", "TODO", "FIXME", "XXX")
        if word in file.read_text(encoding="utf-8")
    }

    # Hunks of a diff begin so.
    assert placeholders == {("provenance/secret_filter.py", "@@")}


def test_names_of_tests_are_short() -> None:
    names = {
        (file.name, node.name)
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }

    assert {name for name in names if len(name[1]) > MAX_TEST_NAME} == set()
    assert len(names) > 1000


def test_files_that_are_to_begin_exist() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []


def test_no_module_name_stands_twice_in_the_package() -> None:
    modules = [file for file in PACKAGE.rglob("*.py") if file.name not in {"__init__.py", "sql.py"}]
    names = Counter(file.stem for file in modules)

    assert [str(file.relative_to(PACKAGE)) for file in modules if names[file.stem] > 1] == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("found = 1", ["found"]),
        ("for one, (seen, file) in rows: pass", ["one", "seen", "file"]),
        ("[told for told in texts]", ["told"]),
        ("def read(given, /, *here, now=None, **there): pass", ["read", "given", "now", "here", "there"]),
        ("with lock as made: pass", ["made"]),
        ("if asked := ask(): pass", ["asked"]),
        ("lambda then: then", ["then"]),
        ("class Point:\n    stands: str", ["Point", "stands"]),
        ("self.found = 1", ["found"]),
        ("import datetime as now", ["now"]),
        ("match rows:\n    case [one, *there]: pass", ["one", "there"]),
    ],
)
def test_every_way_to_name_data_is_seen(source: str, names: list[str]) -> None:
    assert sorted(names_of_data(ast.parse(source))) == sorted(names)
