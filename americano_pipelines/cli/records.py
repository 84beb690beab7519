"""`americano runs`, `compare` and `link`: list recorded analyses, compare two, link one to the app."""

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.style import Style
from rich.table import Table
from rich.text import Text

from americano_pipelines.cli.exit_codes import WRONG_USE
from americano_pipelines.cli.output import Console, progress, say_json
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.provenance.comparison import Line
    from americano_pipelines.provenance.run_listing import ListedRun


_MOST = 200


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: str, second: str, *, as_json: bool) -> None:
    """Show what differs between two recorded analyses, and name what is the same.

    FIRST and SECOND are MLflow runs, AnalysisRuns of the app, or hashes of records, of which 8 digits are enough.
    """
    from americano_pipelines.provenance.archive import find_record
    from americano_pipelines.provenance.comparison import compare as line_up

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


def _show_comparison(names: list[str], lines: "Iterable[Line]") -> None:
    console = Console(highlight=False)
    for part, grouped in groupby(lines, key=lambda line: line.part):
        listed = list(grouped)
        console.print(f"[bold]{part}[/]")
        if others := [line for line in listed if not line.same]:
            table = Table(box=box.SIMPLE, pad_edge=False)
            for header in ("", *names):
                table.add_column(header, overflow="fold")
            for line in others:
                table.add_row(Text(line.name), *(Text(_text(value), style="yellow") for value in line.values))
            console.print(table)
        if same := [line.name for line in listed if line.same]:
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


@click.command()
@click.argument("run")
@click.pass_context
def link(context: click.Context, run: str) -> None:
    """Complete the app's AnalysisRun row of a recorded analysis, or make it where there is none.

    RUN is an MLflow run, an AnalysisRun of the app, or the hash of a record, of which 8 digits are enough. The sensor
    run_outcome does the same for what it finds unlinked.
    """
    from americano_pipelines.provenance.app_link import link_record

    settings = load_settings()
    if settings.app is None:
        click.echo("there is no app to link to: set ANALYSIS_RUNS_DATABASE_URL", err=True)
        context.exit(WRONG_USE)
    linked = link_record(settings, settings.app, run)
    click.echo(
        f"record {linked.sha256[:12]}: row {linked.analysis_run_id} of the app "
        f"{'made' if linked.created else 'completed'}; "
        f"written: {', '.join(linked.columns)}"
    )


_COLUMNS = ("started", "analysis", "protocol", "verdict", "standing", "record")
_WHERE_THERE_IS_ROOM = ("MLflow run", "AnalysisRun")
_FOLDED = {"analysis": len("interrupted"), "protocol": 10, "verdict": len("described")}
_WIDE = 170
_SECONDS, _MINUTES, _CENTURY, _DIGITS = 19, 16, 2, 8
_STYLES = {"FINISHED": "green", "RUNNING": "yellow", "SCHEDULED": "yellow"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(*, as_json: bool) -> None:
    """List all analyses, newest first: those that failed or still run too, and records whose MLflow run is gone."""
    from americano_pipelines.mlflow_store.client import open_store_to_read
    from americano_pipelines.provenance.run_listing import list_runs

    settings = load_settings()
    with progress(enabled=not as_json):
        listed_runs = list_runs(settings, open_store_to_read(settings))
    if as_json:
        say_json([asdict(run) for run in listed_runs])
    else:
        _show_runs(listed_runs)


def state(run: "ListedRun") -> str:
    """The verdict, and the status wherever it is not that of an analysis that came to its end."""
    ended = run.status == "FINISHED"
    said = run.verdict or ("described" if ended else "")
    return said if ended else f"{said} ({run.status.lower()})".strip()


def _show_runs(listed_runs: "list[ListedRun]") -> None:
    console = Console(highlight=False)
    if not listed_runs:
        console.print("no analysis was run yet: materialize an asset of the group `analysis`")
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    wide = console.width >= _WIDE
    for name in (*_COLUMNS, *(_WHERE_THERE_IS_ROOM if wide else ())):
        # An id or a time that is broken in two can neither be read nor copied.
        table.add_column(name, overflow="fold", no_wrap=name not in _FOLDED, min_width=_FOLDED.get(name))
    for run in listed_runs:
        run_id = run.mlflow_run_id
        table.add_row(
            Text((run.started[:_SECONDS] if wide else run.started[_CENTURY:_MINUTES]).replace("T", " ")),
            Text((run.analysis or "-").replace("_", " ")),  # where it may be broken, it is between words
            Text(run.protocol or "-"),
            Text(state(run), style=_STYLES.get(run.status, "bold red")),
            Text(run.standing or "-"),
            Text(run.record[:_DIGITS] if run.record else "-"),
            *([Text(run_id, style=Style(link=run.mlflow_url) if run.mlflow_url else "")] if wide else []),
            *([Text(run.analysis_run_id or "-")] if wide else []),
        )
    console.print(table)
    if not wide:
        console.print("RUN of `americano verify` is the record; --json, or a wider terminal, has the other ids too")
    unrecorded = [run for run in listed_runs if run.record is None and run.status == "FINISHED"]
    if unrecorded:
        console.print(
            f"[bold red]without an intact record[/]: {', '.join(run.mlflow_run_id for run in unrecorded)}; "
            "`americano verify` says more",
            soft_wrap=True,
        )
