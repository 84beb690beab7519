"""Run `americano runs`, `compare` and `link`: list recorded analyses, compare two, link one to the app."""

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.markup import escape
from rich.style import Style
from rich.table import Table

from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.cli.exit_codes import WRONG_USE
from americano_pipelines.cli.output import Console, cell, progress, say, say_json
from americano_pipelines.settings import load_settings
from americano_pipelines.text_output import one_line

if TYPE_CHECKING:
    from americano_pipelines.provenance.comparison import ComparedValue
    from americano_pipelines.provenance.run_listing import ListedRun


_MAX_CHARACTERS = 200
_LISTED = 100


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: str, second: str, *, as_json: bool) -> None:
    """Show the differences between two recorded analyses.

    FIRST and SECOND are each an MLflow run id, an AnalysisRun id of the app or the hash of a record; 8 characters
    are enough. Equal values are listed by name only.
    """
    from americano_pipelines.provenance.comparison import compare as line_up
    from americano_pipelines.provenance.record_index import find_record

    settings = load_settings()
    with progress(enabled=not as_json):
        records = [find_record(settings, name) for name in (first, second)]
        lines = line_up(records[0][1], records[1][1])
    if as_json:
        shown = [
            {"part": line.part, "name": line.name, "first": line.values[0], "second": line.values[1], "same": line.same}
            for line in lines
        ]
        report = {"first": records[0][0], "second": records[1][0], "lines": shown}
        say_json(report)
    else:
        _show_comparison([sha256[:12] for sha256, _ in records], lines)


def _show_comparison(names: list[str], lines: "Iterable[ComparedValue]") -> None:
    console = Console(highlight=False)
    for part, grouped in groupby(lines, key=lambda line: line.part):
        listed = list(grouped)
        console.print(f"[bold]{part}[/]")
        if others := [line for line in listed if not line.same]:
            table = Table(box=box.SIMPLE, pad_edge=False)
            for header in ("", *names):
                table.add_column(cell(header), overflow="fold")
            for line in others:
                table.add_row(cell(line.name), *(cell(_text(value), "yellow") for value in line.values))
            console.print(table)
        if same := [line.name for line in listed if line.same]:
            console.print(f"  the same: {_named(same)}\n", markup=False, soft_wrap=True)


def _named(names: list[str]) -> str:
    """As many names as fit on a few lines, and the number of the others."""
    shown, length = [], 0
    for name in names:
        length += len(name) + 2
        if length > _MAX_CHARACTERS:
            break
        shown.append(name)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    text = (
        "-" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"


@click.command()
@click.argument("run")
@click.pass_context
def link(context: click.Context, run: str) -> None:
    """Write a recorded analysis into its row of the app.

    RUN is an MLflow run id, an AnalysisRun id of the app or the hash of a record; 8 characters are enough. A
    missing row is created. The sensor run_outcome also completes the rows that ended runs left open.
    """
    from americano_pipelines.provenance.app_link import link_record

    settings = load_settings()
    if settings.app is None:
        say("there is no app to link to: set ANALYSIS_RUNS_DATABASE_URL", err=True)
        context.exit(WRONG_USE)
    linked = link_record(settings, settings.app, run)
    say(
        f"record {linked.sha256[:12]}: row {linked.analysis_run_id} of the app "
        f"{'made' if linked.created else 'completed'}; "
        f"written: {', '.join(linked.columns)}"
    )


_COLUMNS = ("started", "analysis", "protocol", "verdict", "standing", "record")
_WIDE_TERMINAL_COLUMNS = ("MLflow run", "AnalysisRun")
_WIDE_TERMINAL_WIDTH = 170
_SECONDS, _MINUTES, _YEAR, _DIGITS = 19, 16, len("2026-"), 8
# On a narrow terminal a run is one line: the name of the protocol gets what the other columns leave.
_ANALYSIS_WIDTH, _OTHER_WIDTHS, _MIN_PROTOCOL_WIDTH = len("randomization"), 64, 12
_STYLES = {"FINISHED": "green", "RUNNING": "yellow", "SCHEDULED": "yellow"}


@click.command()
@click.option("--all", "all_runs", is_flag=True, help=f"List all, not only the newest {_LISTED}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; lists all.")
def runs(*, all_runs: bool, as_json: bool) -> None:
    """List the analyses, newest first.

    The list includes failed and unfinished analyses, and records whose MLflow run no longer exists.
    """
    from americano_pipelines.mlflow_store.client import open_store_to_read
    from americano_pipelines.provenance.run_listing import list_runs

    settings = load_settings()
    with progress(enabled=not as_json):
        # One more than is shown tells whether there are older ones.
        limit = None if all_runs or as_json else _LISTED + 1
        listed_runs = list_runs(settings, open_store_to_read(settings), limit)
    if as_json:
        say_json([asdict(run) for run in listed_runs])
    elif len(listed_runs) == limit:
        _show_runs(listed_runs[:_LISTED])
        say(f"these are the newest {_LISTED}; `americano runs --all` lists the older ones too")
    else:
        _show_runs(listed_runs)


def state(run: "ListedRun") -> str:
    """The verdict, followed by the status unless the analysis finished."""
    ended = run.status == "FINISHED"
    said = run.verdict or ("described" if ended else "")
    return said if ended else f"{said} ({run.status.lower()})".strip()


def _title(run: "ListedRun") -> str:
    """The analysis in words."""
    if run.analysis is None:
        return "-"
    return KINDS[run.analysis].title if run.analysis in KINDS else run.analysis.replace("_", " ")


def _show_runs(listed_runs: "list[ListedRun]") -> None:
    console = Console(highlight=False)
    if not listed_runs:
        console.print("no analysis was run yet: materialize an asset of the group `analysis`")
        return
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    wide = console.width >= _WIDE_TERMINAL_WIDTH
    protocol_width = max(_MIN_PROTOCOL_WIDTH, console.width - _OTHER_WIDTHS)
    for name in (*_COLUMNS, *(_WIDE_TERMINAL_COLUMNS if wide else ())):
        # An id, a time or a word that is broken in two can neither be read nor copied.
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for run in listed_runs:
        run_id, protocol, analysis = run.mlflow_run_id, run.protocol or "-", _title(run)
        table.add_row(
            cell((run.started[:_SECONDS] if wide else run.started[_YEAR:_MINUTES]).replace("T", " ")),
            cell(analysis if wide else shorten(analysis, _ANALYSIS_WIDTH, placeholder="")),
            cell(protocol if wide else shorten(protocol, protocol_width, placeholder="…")),
            cell(state(run), _STYLES.get(run.status, "bold red")),
            cell(run.standing or "-"),
            cell(run.record[:_DIGITS] if run.record else "-"),
            *([cell(run_id, Style(link=one_line(run.mlflow_url)) if run.mlflow_url else "")] if wide else []),
            *([cell(run.analysis_run_id or "-")] if wide else []),
        )
    console.print(table)
    if not wide:
        console.print("RUN of `americano verify` is the record; --json, or a wider terminal, has the other ids too")
    unrecorded = [run for run in listed_runs if run.record is None and run.status == "FINISHED"]
    if unrecorded:
        console.print(
            f"[bold red]without an intact record[/]: {escape(', '.join(run.mlflow_run_id for run in unrecorded))}; "
            "`americano verify` says more",
            soft_wrap=True,
        )
