"""Run `americano bench`: time syncs, queries and answers of the API beside other ways to the same result."""

import dataclasses
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from americano_pipelines.cli.exit_codes import FAILED
from americano_pipelines.cli.output import Console, progress, say, say_json, show_table
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.bench.query_benchmark import QueryTimes
    from americano_pipelines.bench.serving_benchmark import ServingFigure
    from americano_pipelines.bench.sync_benchmark import Measured

_WIDTH = 150


@click.group()
def bench() -> None:
    """Run benchmarks on rows of their own."""


def _announcer(stages: StageTimer) -> Callable[[str], None]:
    """Show the name of a measurement until the next one."""

    def announce(what: str) -> None:
        with stages.stage(what):
            pass

    return announce


def _console() -> Console:
    # Where there is no terminal there are no 80 columns to keep to: a table in a log reads better whole.
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)


@bench.command("sync")
@click.option("--rows", default=5_000_000, show_default=True, type=click.IntRange(1_000), help="Number of events.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 if a budget is missed.")
@click.option("--peers", is_flag=True, help="Also time pandas and dlt, as far as they are installed.")
def sync_(*, rows: int, as_json: bool, check: bool, peers: bool) -> None:
    """Time syncs and the same work in bare statements."""
    from americano_pipelines.bench.dataset import dataset
    from americano_pipelines.bench.sync_benchmark import PLAN, measure

    settings = load_settings()
    console = _console()
    if not as_json:
        console.print(f"{rows:,} events; to be measured:")
        for step in PLAN:
            console.print(f"  {step}")
    stages = StageTimer()

    with progress("creating the data", enabled=not as_json), dataset(settings, rows, stages) as data:
        lines = measure(data, settings, _announcer(stages), with_peers=peers)
    if as_json:
        shown = [dataclasses.asdict(line) | {"within": line.within} for line in lines]
        say_json({"rows": rows, "measured": shown})
    else:
        _show_sync(console, lines, rows)
    if check and any(line.within is False for line in lines):
        sys.exit(FAILED)


def _show_sync(console: Console, lines: Sequence["Measured"], rows: int) -> None:
    from americano_pipelines.bench.sync_benchmark import MIN_ROWS_OF_BUDGETS

    _show_measured(console, lines, "s")
    if rows < MIN_ROWS_OF_BUDGETS:
        say(f"the budgets hold from {MIN_ROWS_OF_BUDGETS:,} rows on")


def _show_measured(console: Console, lines: Sequence["Measured"], unit: str) -> None:
    table = [
        (
            line.what,
            f"{line.seconds:.2f}",
            line.against or "-",
            "-" if line.ratio is None else f"{line.ratio:.2f}",
            "-" if line.budget is None else f"{line.budget:.2f} {'met' if line.within else 'MISSED'}",
            line.note,
        )
        for line in lines
    ]
    show_table(console, ("what", unit, "against", "ratio", "budget", "note"), table, max_rows=len(table))


@bench.command("commands")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 if a budget is missed.")
def commands(*, as_json: bool, check: bool) -> None:
    """Time commands that wait for no data."""
    from americano_pipelines.bench.command_benchmark import ROWS, measure_commands
    from americano_pipelines.bench.dataset import dataset

    stages = StageTimer()

    with progress("creating the data", enabled=not as_json), dataset(load_settings(), ROWS, stages) as data:
        lines = measure_commands(data, _announcer(stages))
    if as_json:
        say_json({"measured": [dataclasses.asdict(line) | {"within": line.within} for line in lines]})
    else:
        console = _console()
        _show_measured(console, lines, "CPU s")
    if check and any(line.within is False for line in lines):
        sys.exit(FAILED)


@bench.command("queries")
@click.option("--rows", default=5_000_000, show_default=True, type=click.IntRange(1_000), help="Number of events.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), help="Write a chart to this PNG file.")
@click.option("--check", is_flag=True, help="Exit with 1 if a target is missed.")
def queries(*, rows: int, as_json: bool, chart: Path | None, check: bool) -> None:
    """Time queries in Postgres, Parquet and DuckDB."""
    from americano_pipelines.bench.dataset import dataset
    from americano_pipelines.bench.query_benchmark import measure_queries

    settings = load_settings()
    stages = StageTimer()
    with progress("creating the data", enabled=not as_json), dataset(settings, rows, stages) as data:
        times = measure_queries(data, settings, stages)
    if chart is not None:
        from americano_pipelines.bench.query_chart import query_chart

        chart.write_bytes(query_chart(times, rows))
    if as_json:
        shown = [dataclasses.asdict(line) | {"ratio": line.ratio, "within": line.within} for line in times]
        say_json({"rows": rows, "queries": shown})
    else:
        _show_queries(times, rows)
    if check and any(line.within is False for line in times):
        sys.exit(FAILED)


def _show_queries(times: Sequence["QueryTimes"], rows: int) -> None:
    from americano_pipelines.bench.query_benchmark import MIN_ROWS_OF_TARGETS, PUBLISHED

    names = [name for name in times[0].warm_ms if name != PUBLISHED] + [PUBLISHED]
    table = [
        (
            line.title,
            f"{line.rows:,}",
            *(f"{line.warm_ms[name]:.1f}" for name in names),
            f"{line.cold_ms[PUBLISHED]:.1f}",
            f"{line.ratio:.1f}",
            "-" if line.target is None else f"{line.target:.0f} {'met' if line.within else 'MISSED'}",
        )
        for line in times
    ]
    console = _console()
    header = ("query", "rows", *(f"{name}, ms" for name in names), "first run, ms", "ratio", "target")
    show_table(console, header, table, max_rows=len(table))
    if rows < MIN_ROWS_OF_TARGETS:
        say(f"the targets hold from {MIN_ROWS_OF_TARGETS:,} rows on")


@bench.command("serving")
@click.option("--rows", default=1_000_000, show_default=True, type=click.IntRange(1_000), help="Rows of the export.")
@click.option("--datasette", help="The command of Datasette; without it, the one on the PATH, if any.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 if a target is missed.")
def serving(*, rows: int, datasette: str | None, as_json: bool, check: bool) -> None:
    """Time answers of the API, also beside Datasette."""
    from americano_pipelines.bench.serving_benchmark import measure_serving

    stages = StageTimer()

    with progress("creating the data", enabled=not as_json):
        figures = measure_serving(load_settings(), rows, datasette or shutil.which("datasette"), _announcer(stages))
    if as_json:
        shown = [dataclasses.asdict(figure) | {"within": figure.within} for figure in figures]
        say_json({"rows": rows, "measured": shown})
    else:
        _show_serving(figures, rows)
    if check and any(figure.within is False for figure in figures):
        sys.exit(FAILED)


def _show_serving(figures: Sequence["ServingFigure"], rows: int) -> None:
    from americano_pipelines.bench.serving_benchmark import MIN_ROWS_OF_TARGETS

    table = [
        (
            figure.what,
            f"{figure.value:,.2f} {figure.unit}",
            "-"
            if figure.target is None
            else f"{'>=' if figure.is_rate else '<='} {figure.target:g} {'met' if figure.within else 'MISSED'}",
        )
        for figure in figures
    ]
    console = _console()
    show_table(console, ("what", "measured", "target"), table, max_rows=len(table))
    if rows < MIN_ROWS_OF_TARGETS:
        say(f"the targets hold from {MIN_ROWS_OF_TARGETS:,} rows on")
