"""README and docs agree with the code: paths, links, settings, commands, messages, names of tests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from americano_pipelines.cli.main import COMMANDS, group
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines.settings.environment import Variables

DOCS = PROJECT_ROOT / "docs"
PACKAGE, TESTS = PROJECT_ROOT / "americano_pipelines", PROJECT_ROOT / "americano_pipelines_tests"
README = PROJECT_ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
MAX_LINES = 150

# Defaults that the page writes in another way than pydantic holds them, by field.
WRITTEN_DEFAULTS = {
    "duckdb_db_path": "`<data>/duckdb/americano.duckdb`",
    "dagster_home": "`<data>/dagster_home`",
    "mlflow_tracking_uri": "`sqlite:///<data>/mlflow/mlflow.db`",
    "americano_threads": "all cores",
}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def table_rows(text: str) -> list[list[str]]:
    """The cells of all table rows of a text, without headers' rules."""
    rows = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows if set(row) - set("-|")]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named_paths(text: str) -> set[str]:
    """Modules, SQL files and packages that a text names: in code spans, and in diagrams without any mark."""
    diagrams = "\n".join(re.findall(r"^```mermaid\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    files = {*re.findall(r"`([\w/]+\.(?:py|sql))`", prose), *re.findall(r"[\w/]+\.(?:py|sql)\b", diagrams)}
    folders = {folder for folder in re.findall(r"`([a-z_][\w/]*/)`", prose) if not folder.startswith("data/")}
    return files | folders


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    places = (PROJECT_ROOT, PACKAGE, TESTS)

    missing = [name for name in named_paths(text_of(page)) if not any((place / name).exists() for place in places)]

    assert missing == []


# Words in code spans of the recipes that are no name in a module: of SQL, of the command line, a schema.
NO_NAMES = {"SELECT", "compare", "research"}


def defined_in(module: Path) -> set[str]:
    """Names that a module defines: functions, classes, their fields and parameters, constants."""
    names = set()
    for node in ast.walk(ast.parse(text_of(module))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
    return names


def test_names_in_recipes_are_defined_in_the_modules_that_the_recipe_names() -> None:
    recipes = [part for part in text_of(DOCS / "how-to.md").split("\n## ") if part.startswith("Add ")]
    unknown = {}
    for recipe in recipes:
        code = "".join(re.findall(r"^ *```python\n(.*?)^ *```", recipe, re.MULTILINE | re.DOTALL))
        prose = re.sub(r"^ *```.*?^ *```", "", recipe, flags=re.MULTILINE | re.DOTALL)
        named = {*re.findall(r"`(\w+)(?:=\w+|\([^`]*\))?`", prose), *re.findall(r"\b_?[A-Z][a-z]\w*(?=\()", code)}
        modules = [PACKAGE / name for name in named_paths(prose) if name.endswith(".py")]
        defined = set().union(*map(defined_in, modules))
        unknown[recipe.partition("\n")[0]] = named - defined - NO_NAMES

    assert len(unknown) == 5  # a table, a rollup, a check, an analysis, a report
    assert {title: names for title, names in unknown.items() if names} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    names = set(re.findall(r"`(test_\w+)(?:\[\w+\])?`", text_of(page)))
    sources = "\n".join(map(text_of, TESTS.rglob("test_*.py")))
    defined = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))

    assert names - defined == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    links = re.findall(r"\]\(([^):]+)\)", text_of(page))
    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_readme_leads_to_every_page() -> None:
    linked = {(PROJECT_ROOT / link).resolve() for link in re.findall(r"\]\((docs/[^)#]+)\)", text_of(README))}

    assert [page.name for page in DOCS.glob("*.md") if page not in linked] == []


def test_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= MAX_LINES


def default_of(name: str) -> str:
    value = Variables.model_fields[name].default
    if name in WRITTEN_DEFAULTS:
        return WRITTEN_DEFAULTS[name]
    if name.endswith("_parquet"):
        return f"`<data>/exports/{name.removesuffix('_parquet')}.parquet`"
    if name in {"pg_password", "americano_columns"} or value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_settings_page_has_every_variable_with_default_and_description() -> None:
    page = text_of(DOCS / "settings.md").partition("\n## ")[0]
    expected = {
        f"`{name.upper()}`": [default_of(name), field.description] for name, field in Variables.model_fields.items()
    }

    assert {row[0]: row[1:] for row in table_rows(page) if row[0] != "variable"} == expected


def test_example_file_has_every_description() -> None:
    lines = text_of(PROJECT_ROOT / ".env.example").splitlines()

    assert [name for name, field in Variables.model_fields.items() if f"# {field.description}" not in lines] == []


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    context = click.Context(group)
    for name in COMMANDS:
        if (command := group.get_command(context, name)) is not None:
            yield from below(name, command)


def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command, or the commands of a group; a group that does something without them is one too."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name, command
    for child in command.commands if isinstance(command, click.Group) else ():
        yield from below(f"{name} {child}", command.commands[child])


def options(command: click.Command) -> dict[str, str]:
    """Each option with its help and the default that the help shows."""
    shown = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            default = f" Default: {parameter.default}." if parameter.show_default else ""
            shown[parameter.opts[0]] = f"{parameter.help}{default}"
    return shown


def test_commands_page_has_every_command_and_option() -> None:
    sections = re.split(r"^## ", text_of(DOCS / "commands.md"), flags=re.MULTILINE)[1:]
    written = {}
    for section in sections:
        heading, _, body = section.partition("\n")
        if name := re.fullmatch(r"`americano (.+)`", heading):
            rows = {row[0].strip("`").split()[0]: row[1] for row in table_rows(body) if row[0].startswith("`")}
            written[name[1]] = body.strip().splitlines()[0], rows
    expected = {name: ((command.help or "").splitlines()[0], options(command)) for name, command in commands()}

    assert written == expected


def test_help_of_a_command_begins_with_a_sentence_that_fits_its_line() -> None:
    # At 80 columns click cuts what follows the name of the longest command, and ends it with dots.
    longest = 80 - 6 - max(map(len, COMMANDS))
    context = click.Context(group)
    helps = {
        name: command.get_short_help_str(longest) for name in COMMANDS if (command := group.get_command(context, name))
    }

    assert {name: text for name, text in helps.items() if text.endswith("...")} == {}


def messages() -> set[str]:
    """Every text in the package; what an f-string fills in is left out of it."""
    texts = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
                texts.add("\0".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return texts


def test_messages_in_troubleshooting_are_those_of_the_code() -> None:
    quoted = re.findall(r"^### `(.+)`$", text_of(DOCS / "troubleshooting.md"), re.MULTILINE)
    known = messages()
    unknown = [
        message
        for message in quoted
        if not any(
            re.search(".*".join(re.escape(part.strip()) for part in message.split("…")), text, re.DOTALL)
            for text in known
        )
    ]

    assert quoted
    assert unknown == []
