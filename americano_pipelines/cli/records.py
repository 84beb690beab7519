"""Run `americano runs`, `compare` and `link`: list recorded analyses, compare two, link one to the app."""

from dataclasses import asdict
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.style import Style

from americano_pipelines.cli.exit_codes import WRONG_USE
from americano_pipelines.cli.output import (
    SHORT_LENGTH,
    Console,
    cell,
    kind_title,
    number_cells,
    progress,
    say,
    say_json,
    show_lines,
    show_table,
    standing_cell,
)
from americano_pipelines.common.hashing import SHA256
from americano_pipelines.settings import DataFolder, Settings, load_settings
from americano_pipelines.text_output import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from americano_pipelines.provenance.comparison import ComparedValue
    from americano_pipelines.provenance.record_index import KeyNumbers
    from americano_pipelines.provenance.run_listing import ListedRun


_MAX_CHARACTERS = 200
# Of a name and two values that fit a line of 80 characters.
_SHORT_WIDTHS = (32, 20, 20)
_LISTED = 100


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: str, second: str, *, as_json: bool) -> None:
    """Show the differences between two recorded analyses.

    FIRST and SECOND are each the hash of a record or the id of a run in MLflow, Dagster or the app; 8 characters are
    enough. Equal values are listed by name only.
    """
    from americano_pipelines.provenance.comparison import compare as line_up
    from americano_pipelines.provenance.record_lookup import find_record
    from americano_pipelines.warehouse.published_protocols import read_protocols

    settings = load_settings()
    with progress("reading both records", enabled=not as_json):
        records = [find_record(settings.paths, name) for name in (first, second)]
        lines = line_up(records[0][1], records[1][1])
        names = {} if as_json else {protocol.protocol_id: protocol.title for protocol in read_protocols(settings)}
    if as_json:
        shown = [
            {"part": line.part, "name": line.name, "first": line.values[0], "second": line.values[1], "same": line.same}
            for line in lines
        ]
        report = {"first": records[0][0], "second": records[1][0], "lines": shown}
        say_json(report)
    else:
        console = Console(highlight=False)
        for which, (sha256, record) in zip(("first", "second"), records, strict=True):
            identity = record.identity
            subject = names.get(identity.protocol_id or "", identity.protocol_id) or identity.subject
            of_subject = f" of {subject}" if subject else ""
            title = f"{kind_title(identity.analysis, wide=True)}{of_subject}, {_minutes(identity.ended_at)}"
            _print_hanging(console, f"{which:<6}  {sha256[:SHORT_LENGTH]}  ", one_line(title))
        _show_comparison([sha256[:SHORT_LENGTH] for sha256, _ in records], lines)


def _show_comparison(names: list[str], lines: "Iterable[ComparedValue]") -> None:
    console = Console(highlight=False)
    for part, grouped in groupby(lines, key=lambda line: line.part):
        listed = list(grouped)
        console.print(f"\n[bold]{part}[/]")
        others = [(one_line(line.name), *map(_text, line.values)) for line in listed if not line.same]
        if short := [row for row in others if all(map(_fits, row, _SHORT_WIDTHS))]:
            show_table(console, ("", *names), short, max_rows=len(short))
        for name, *values in (row for row in others if row not in short):
            console.print(f"  {name}", markup=False)
            for record, value in zip(names, values, strict=True):
                _print_hanging(console, f"    {record}  ", value)
        if same := [line.name for line in listed if line.same]:
            _print_hanging(console, "  the same: ", _named(same))


def _print_hanging(console: Console, label: str, text: str) -> None:
    """Print a text beside a label, its lines broken between words only."""
    label = one_line(label)
    lines = wrap(text, console.width - len(label), break_long_words=False, break_on_hyphens=False) or [""]
    console.print(label + f"\n{' ' * len(label)}".join(lines), markup=False)


def _minutes(time: str) -> str:
    """A time, ISO 8601, to the minute."""
    return time[:_MINUTES].replace("T", " ")


def _fits(text: str, width: int) -> bool:
    return len(text) <= width


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
    """A value on one line; of a hash and of a long text the beginning."""
    if value is None:
        return "-"
    text = one_line(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
    if SHA256.fullmatch(text):
        return f"{text[:12]}…"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"


@click.command()
@click.argument("run")
@click.pass_context
def link(context: click.Context, run: str) -> None:
    """Write a recorded analysis into its row of the app.

    RUN is the hash of a record or the id of a run in MLflow, Dagster or the app; 8 characters are enough. A missing
    row is created. The sensor run_outcome also completes the rows that ended runs left open.
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


_MEDIUM_WIDTH, _WIDE_WIDTH = 96, 180
_SECONDS, _MINUTES, _YEAR = 19, 16, len("2026-")
_STYLES = {"FINISHED": "green", "RUNNING": "yellow", "SCHEDULED": "yellow"}


@click.command()
@click.option("--protocol", metavar="PROTOCOL", help="Only of this protocol: its name, its id or a part of one.")
@click.option("--planned", is_flag=True, help="Only planned or declared analyses.")
@click.option("--limit", type=click.IntRange(min=1), help=f"List so many; without it the newest {_LISTED}.")
@click.option("--all", "all_runs", is_flag=True, help="List all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; lists all without --limit.")
def runs(*, protocol: str | None, planned: bool, limit: int | None, all_runs: bool, as_json: bool) -> None:
    """List the analyses, newest first.

    The list includes failed and unfinished analyses, and records whose MLflow run no longer exists.
    """
    from americano_pipelines.mlflow_store.client import open_store_to_read
    from americano_pipelines.provenance.run_listing import list_runs

    if all_runs and limit is not None:
        raise click.UsageError("--all and --limit exclude each other")
    settings = load_settings()
    most = limit or (None if all_runs or as_json else _LISTED)
    with progress("reading the list of runs from MLflow", enabled=not as_json):
        protocol_id = None if protocol is None else _protocol_id(settings, protocol)
        # One more than is shown, to know whether there are older ones. A filter needs all.
        read = None if most is None or planned or protocol is not None else most + 1
        matching = [
            run
            for run in list_runs(settings, open_store_to_read(settings), read)
            # A group is listed under its name in words.
            if (protocol_id is None or protocol_id in (run.protocol_id, run.protocol))
            and (not planned or run.standing in ("planned", "declared"))
        ]
        shown = matching[:most]
        numbers = {} if as_json else _numbers(settings.paths, shown)
    if as_json:
        say_json([asdict(run) for run in shown])
        return
    _show_runs(shown, numbers, is_filtered=planned or protocol is not None)
    if len(shown) < len(matching):
        say(f"these are the newest {most}; `americano runs --all` lists the older ones too")


def _protocol_id(settings: Settings, text: str) -> str:
    """The protocol that a text means, of those that are published or that records know."""
    from americano_pipelines.provenance.verdict_listing import list_verdicts
    from americano_pipelines.warehouse.published_protocols import find_protocol, read_protocols

    verdicts = list_verdicts(settings.paths, read_protocols(settings))
    return find_protocol([verdict.protocol for verdict in verdicts], text).protocol_id


def _numbers(paths: DataFolder, shown: "list[ListedRun]") -> "dict[str, KeyNumbers]":
    """Key numbers of the runs that have a record, by its hash."""
    from americano_pipelines.provenance.record_index import find_entries

    hashes = [run.record for run in shown if run.record]
    return {entry.sha256: entry.numbers for entry in find_entries(paths, "sha256", *hashes)}


def verdict_text(run: "ListedRun", *, whole: bool = True) -> str:
    """The verdict, followed by the status unless the analysis finished.

    Args:
        run: the analysis.
        whole: else only the first part of a verdict such as "differs, lower under treatment".
    """
    ended = run.status == "FINISHED"
    verdict_words = run.verdict or ("described" if ended else "")
    verdict_words = verdict_words if whole else verdict_words.partition(",")[0]
    return verdict_words if ended else f"{verdict_words} ({run.status.lower()})".strip()


def _show_runs(
    listed_runs: "list[ListedRun]", numbers: "Mapping[str, KeyNumbers]", *, is_filtered: bool = False
) -> None:
    console = Console(highlight=False)
    if not listed_runs:
        console.print(
            "no such analysis was run" if is_filtered else "no analysis was run yet: `americano analyse` runs one"
        )
        return
    medium, wide = console.width >= _MEDIUM_WIDTH, console.width >= _WIDE_WIDTH
    rows = [_row(run, numbers, medium=medium, wide=wide) for run in listed_runs]
    lines = []
    for run, row in zip(listed_runs, rows, strict=True):
        cells = {name: cell(text) for name, text in row.items()}
        cells["verdict"] = cell(row["verdict"], _STYLES.get(run.status, "bold red"))
        if wide and run.mlflow_url:
            cells["MLflow run"] = cell(run.mlflow_run_id, Style(link=one_line(run.mlflow_url)))
        lines.append(cells)
    show_lines(console, lines, "protocol", gap=2 if medium else 1)
    if not wide:
        more = "" if medium else "effects and "
        console.print(f"RUN of `americano verify` is the record. --json, or a wider terminal, has {more}the other ids.")
    unrecorded = [run for run in listed_runs if run.record is None and run.status == "FINISHED"]
    if unrecorded:
        console.print(
            f"[bold red]without an intact record[/]: {escape(', '.join(run.mlflow_run_id for run in unrecorded))}; "
            "`americano verify` says more",
        )


def _row(run: "ListedRun", numbers: "Mapping[str, KeyNumbers]", *, medium: bool, wide: bool) -> dict[str, str]:
    """A line of the table, by column; the wider the terminal the more columns."""
    from americano_pipelines.provenance.record_index import KeyNumbers

    tested = numbers.get(run.record or "", KeyNumbers())
    row = {
        "started": (run.started[:_SECONDS] if wide else run.started[_YEAR:_MINUTES]).replace("T", " "),
        "analysis": "-" if run.analysis is None else kind_title(run.analysis, wide=wide),
        "protocol": one_line(run.protocol or "-"),
        "verdict": verdict_text(run, whole=wide),
    }
    effect, _, p = number_cells(tested)
    row |= {"effect": effect, "p": p} if medium else {"p": p}
    row |= {"standing": run.standing or "-"} if medium else {"planned": standing_cell(run.standing)}
    row["record"] = run.record[:SHORT_LENGTH] if run.record else "-"
    if wide:
        row |= {"MLflow run": run.mlflow_run_id, "AnalysisRun": run.analysis_run_id or "-"}
    return row
