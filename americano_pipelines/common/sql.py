"""Load SQL text, and quote identifiers and texts in it."""

# Statements longer than a line live in `.sql` files beside the module that runs them. They may hold `{placeholders}`
# for identifiers and for expressions built from identifiers, and for nothing else. Bind values as parameters when a
# statement is executed.

import glob
from functools import cache
from importlib.resources import files
from pathlib import Path


def quote(*parts: str) -> str:
    """Quote an identifier, or a dotted path of them, for Postgres and DuckDB alike.

    Args:
        parts: for instance `"analytics", "behavioral_events"`.

    Returns:
        `"analytics"."behavioral_events"`, quotes inside a name doubled.

    Raises:
        ValueError: a part is empty or holds a NUL character, which neither engine accepts.
    """
    for part in parts:
        if not part or "\0" in part:
            raise ValueError(f"not an identifier: {part!r}")
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def folded(name: str) -> str:
    """A name in the form in which DuckDB compares names: only ASCII letters lose their case, `ß` is not `ss`."""
    return name.encode().lower().decode()


def escape(text: str) -> str:
    """Double the quotes in a text, for the few statements (ATTACH, COPY TO) that take no bound values."""
    return text.replace("'", "''")


def literal_path(path: Path) -> str:
    """A path for DuckDB's file functions, which take `events[1].parquet` for a pattern."""
    return glob.escape(str(path))


@cache
def load(package: str, name: str) -> str:
    """Read `<name>.sql` from a package's `sql` folder.

    Args:
        package: the package's short name, for instance `"warehouse"`.
        name: the file's name without its ending.
    """
    folder = files(f"americano_pipelines.{package}").joinpath("sql")
    return folder.joinpath(f"{name}.sql").read_text(encoding="utf-8")


def render(template: str, **fragments: str) -> str:
    """Put quoted identifiers into a template's `{placeholders}`."""
    return template.format_map(fragments)
