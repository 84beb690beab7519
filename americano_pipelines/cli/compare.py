"""`americano compare`: two recorded analyses side by side."""

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from americano_pipelines.cli.progress import progress
from americano_pipelines.cli.tables import Console, say_json
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.tracking.comparison import Line

_MOST = 200


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: str, second: str, *, as_json: bool) -> None:
    """Show what differs between two recorded analyses, and name what is the same.

    FIRST and SECOND are MLflow runs, AnalysisRuns of the app, or hashes of records, of which 8 digits are enough.
    """
    from americano_pipelines.tracking.comparison import compare as line_up
    from americano_pipelines.tracking.history import find_record

    settings = load_settings()
    with progress(enabled=not as_json):
        found = [find_record(settings, name) for name in (first, second)]
        lines = line_up(found[0][1], found[1][1])
    if as_json:
        shown = [
            {"part": one.part, "name": one.name, "first": one.values[0], "second": one.values[1], "same": one.same}
            for one in lines
        ]
        report = {"first": found[0][0], "second": found[1][0], "lines": shown}
        say_json(report)
    else:
        _show([sha256[:12] for sha256, _ in found], lines)


def _show(names: list[str], lines: "Iterable[Line]") -> None:
    console = Console(highlight=False)
    for part, grouped in groupby(lines, key=lambda one: one.part):
        listed = list(grouped)
        console.print(f"[bold]{part}[/]")
        if others := [one for one in listed if not one.same]:
            table = Table(box=box.SIMPLE, pad_edge=False)
            for header in ("", *names):
                table.add_column(header, overflow="fold")
            for one in others:
                table.add_row(Text(one.name), *(Text(_text(value), style="yellow") for value in one.values))
            console.print(table)
        if same := [one.name for one in listed if one.same]:
            console.print(f"  the same: {_named(same)}\n", markup=False, soft_wrap=True)


def _named(names: list[str]) -> str:
    """The names as far as they go on a few lines, and how many more there are."""
    shown, length = [], 0
    for name in names:
        length += len(name) + 2
        if length > _MOST:
            break
        shown.append(name)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    text = (
        "-" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
