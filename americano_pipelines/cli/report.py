"""Run `americano report`: the four standard queries on the published file, or the counts of one protocol."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from americano_pipelines.cli.exit_codes import FAILED
from americano_pipelines.cli.output import Console, progress, say_json, show_table
from americano_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from americano_pipelines.warehouse.phase_report import Pattern, Timed

_NO_PHASE = "(no experiment)"


@click.command()
@click.option("--protocol", metavar="PROTOCOL", help="Count only its events: a name, an id or a part of one.")
@click.option("--compare-postgres", is_flag=True, help="Time the daily counts in Postgres too, and compare the rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def report(context: click.Context, *, protocol: str | None, compare_postgres: bool, as_json: bool) -> None:
    """Count events by phase, day, week and protocol.

    With a comparison configured, the daily counts are also timed in Postgres.
    """
    from americano_pipelines.warehouse.phase_report import report_protocol
    from americano_pipelines.warehouse.published_protocols import protocol_ids, read_protocols

    if protocol is not None and compare_postgres:
        raise click.UsageError("--compare-postgres compares the events of all protocols: leave --protocol out")
    settings = load_settings()
    published = read_protocols(settings)
    names = {known.protocol_id: known.title for known in published}
    if protocol is not None:
        (protocol_id,) = protocol_ids(published, [protocol])
        with progress("counting the events of the protocol", enabled=not as_json):
            patterns = report_protocol(settings, protocol_id)
    else:
        patterns = run_report(settings, compare=compare_postgres or settings.compare_with_postgres, quiet=as_json)
    if as_json:
        say_json([_as_dict(pattern) for pattern in patterns])
    else:
        show(patterns, names)
    if compare_postgres and patterns[-1].postgres is None:
        context.exit(FAILED)  # requested but skipped; print the reason


def run_report(settings: Settings, *, compare: bool, quiet: bool = False) -> "list[Pattern]":
    """Run all queries; show progress on a terminal."""
    from americano_pipelines.warehouse.phase_report import report as read_report

    with progress("counting events", enabled=not quiet):
        return read_report(settings, compare=compare)


def show(patterns: "list[Pattern]", names: Mapping[str, str]) -> None:
    """Print each answer as a small table.

    Args:
        patterns: the answers.
        names: names of the published protocols by id.
    """
    console = Console(highlight=False)
    for pattern in patterns:
        if pattern.duckdb is None:
            console.print(f"[bold]{pattern.title}[/]: [yellow]skipped[/], {escape(str(pattern.skipped))}\n")
            continue
        took = _times(pattern.duckdb)
        if pattern.postgres is not None:
            faster = pattern.postgres.median_ms / max(pattern.duckdb.median_ms, 0.01)
            same = "the same rows" if pattern.same else "DIFFERENT rows: Postgres has moved on since the snapshot"
            took = f"DuckDB {took}; Postgres {_times(pattern.postgres)}; {faster:.1f} times as fast, {same}"
        header, rows = list(pattern.duckdb.columns), [list(row) for row in pattern.duckdb.rows]
        if header[0] == "protocol_id":
            header.insert(0, "protocol")
            rows = [[names.get(row[0], "-"), *row] for row in rows]
        elif header[0] == "phase":
            rows = [[_NO_PHASE if row[0] is None else row[0], *row[1:]] for row in rows]
        show_table(console, header, rows, title=f"[bold]{pattern.title}[/] ({took})", unbroken=header[1:])


def _times(timed: "Timed") -> str:
    return f"{timed.median_ms:.1f} ms, first {timed.first_ms:.1f} ms"


def _as_dict(pattern: "Pattern") -> dict[str, Any]:
    shown = dataclasses.asdict(pattern)
    for engine in ("duckdb", "postgres"):
        if shown[engine] is not None:
            shown[engine]["rows"] = [list(row) for row in shown[engine]["rows"]]
    return shown
