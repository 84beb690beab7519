"""Print tables to standard output and progress to standard error.

Show progress only on a terminal, and only for work that takes longer than two seconds.
"""

import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click
import rich.console
from rich import box
from rich.cells import cell_len
from rich.style import Style
from rich.table import Table
from rich.text import Text

from americano_pipelines.common import stage_timer
from americano_pipelines.text_output import json_text, one_line, visible

if TYPE_CHECKING:
    from americano_pipelines.provenance.record_index import KeyNumbers

MAX_ROWS = 10
# Characters of a hash or an id in a table; commands accept so many as a name.
SHORT_LENGTH = 8
_ANALYSIS_WIDTH = len("randomization")
_MIN_FLEXIBLE_WIDTH = 12


class Console(rich.console.Console):
    """A console that prints control characters of a text as escapes."""

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as rich has them
        """Escape the control characters of every printed string and every table cell."""
        return super().render_str(visible(text), **options)

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has them
        """Print tables, and texts whose lines break between words on a terminal and nowhere else."""
        if not all(isinstance(item, str) for item in objects):
            super().print(*objects, **options)
            return
        text = self.render_str(" ".join(objects), markup=options.pop("markup", None))
        if self.file.isatty():
            text.plain = broken_between_words(text.plain, self.width)
        super().print(text, **(options | {"soft_wrap": True}))


def say(text: object, *, err: bool = False) -> None:
    """Print a text without styles, such as an error message; on a terminal its lines break between words."""
    shown = visible(str(text))
    if (sys.stderr if err else sys.stdout).isatty():
        shown = broken_between_words(shown, get_terminal_size().columns)
    click.echo(shown, err=err)


def broken_between_words(text: str, width: int) -> str:
    """A text with line ends in place of spaces where a line is too long; a longer word, such as a path, stays whole."""
    characters, start, space = list(text), 0, None
    for index, character in enumerate(text):
        if character == "\n":
            start, space = index + 1, None
        elif character == " " and text[start:index].strip():
            space = index
        if space is not None and cell_len(text[start : index + 1].rstrip()) > width:
            characters[space] = "\n"
            start, space = space + 1, None
    return "".join(characters)


def say_json(value: object) -> None:
    """Print JSON."""
    click.echo(json_text(value))


def cell(value: object, style: str | Style = "") -> Text:
    """A value for a table: one line of plain text, in which a label such as `[/b]` is data, not markup."""
    return Text("-" if value is None else f"{value:,}" if _is_number(value) else one_line(str(value)), style=style)


def number_cells(numbers: "KeyNumbers") -> tuple[str, str, str]:
    """Effect, interval and p for a table; `-` for none."""
    # A sync prints no results, and loads no statistics.
    from americano_pipelines.statistics.outcome_digits import effect_texts, shown_p

    effect, interval = effect_texts(numbers.effect, numbers.interval_low, numbers.interval_high)
    return effect or "-", interval or "-", "-" if numbers.p is None else shown_p(numbers.p)


def standing_cell(standing: str | None) -> str:
    """What an analysis is to the plan, in a column `planned` of a narrow terminal."""
    return {"planned": "yes", "declared": "declared", "exploratory": "no"}.get(standing or "", "-")


def kind_title(kind: str, *, wide: bool) -> str:
    """A kind of analysis in words; on a narrow terminal its first ones."""
    from americano_pipelines.analysis.registry import KINDS

    title = KINDS[kind].title if kind in KINDS else kind.replace("_", " ")
    # Beside a status, "interrupted" would read as one.
    return title if wide else shorten(title.removeprefix("interrupted "), _ANALYSIS_WIDTH, placeholder="")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def show_table(
    console: Console,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str = "",
    max_rows: int = MAX_ROWS,
    unbroken: Collection[str] = (),
) -> None:
    """Print a table. Of many rows, print the last `max_rows` and the total number.

    Args:
        console: where.
        header: names of the columns.
        rows: the values.
        title: a line above it.
        max_rows: how many rows are printed.
        unbroken: columns whose values stay on one line where the table is too wide; the others break at words.
    """
    if title:
        console.print(title)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for index, name in enumerate(header):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        table.add_column(cell(name), justify="right" if numeric else "left", overflow="fold", no_wrap=name in unbroken)
    if len(rows) > max_rows:
        table.add_row(*(["…"] * len(header)))
    for row in rows[-max_rows:]:
        table.add_row(*map(cell, row))
    if len(rows) > max_rows:
        table.caption = f"last {max_rows} of {len(rows):,} rows"
        table.caption_justify = "left"
    console.print(table)


def show_lines(console: Console, rows: Sequence[Mapping[str, str | Text]], flexible: str, *, gap: int = 2) -> None:
    """Print a table in which every row is one line.

    Args:
        console: where.
        rows: the cells by column; no row is empty.
        flexible: the column that gets the width that the others leave; a longer text in it is cut, at a word if it can
            be.
        gap: spaces between two columns.
    """
    lines = [{name: text if isinstance(text, Text) else cell(text) for name, text in row.items()} for row in rows]
    widths = {name: max(cell_len(name), *(line[name].cell_len for line in lines)) for name in lines[0]}
    room = console.width - sum(widths.values()) + widths[flexible] - gap * len(widths) - 1
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for name in lines[0]:
        # An id, a time or a word that is broken in two can neither be read nor copied.
        table.add_column(cell(name), overflow="ellipsis", no_wrap=True)
    for line in lines:
        cut = _cut(line[flexible].plain, max(room, _MIN_FLEXIBLE_WIDTH))
        table.add_row(*(cell(cut) if name == flexible else text for name, text in line.items()))
    console.print(table)


def _cut(text: str, width: int) -> str:
    """A text of at most so many characters: whole words; a single long word, or an id, by its characters."""
    short = shorten(text, width, placeholder="…")
    return text[: width - 1] + "…" if short == "…" else short


_QUIET_SECONDS = 2.0


@contextmanager
def progress(activity: str, *, enabled: bool = True) -> Iterator[None]:
    """Show a spinner with the current stage while the block runs, after two seconds.

    Args:
        activity: what the block does, until the first stage begins.
        enabled: else nothing is shown.
    """
    console = Console(stderr=True)
    # The stream is asked, not rich: it calls everything a terminal when FORCE_COLOR is set, as CI systems do.
    if not enabled or not sys.stderr.isatty():
        yield
        return
    status = console.status(cell(activity))
    timer = threading.Timer(_QUIET_SECONDS, status.start)
    timer.start()
    try:
        with stage_timer.stage_listener(lambda stage: status.update(cell(stage))):
            yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
