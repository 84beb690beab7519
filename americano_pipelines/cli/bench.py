"""Run `americano bench`: time a sync and the same work in bare DuckDB statements."""

import dataclasses
import sys

import click

from americano_pipelines.cli.output import Console, progress, say, say_json, show_table
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.settings import load_settings

_WIDTH = 150


@click.group()
def bench() -> None:
    """Run benchmarks on a temporary Postgres."""


@bench.command("sync")
@click.option("--rows", default=5_000_000, show_default=True, type=click.IntRange(1_000), help="Number of events.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sync_(*, rows: int, as_json: bool) -> None:
    """Time syncs and the same work in bare statements."""
    from americano_pipelines.bench.dataset import dataset
    from americano_pipelines.bench.sync_benchmark import MIN_ROWS_OF_BUDGETS, PLAN, measure

    settings = load_settings()
    # Where there is no terminal there are no 80 columns to keep to: a table in a log reads better whole.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    if not as_json:
        console.print(f"{rows:,} events; to be measured:")
        for step in PLAN:
            console.print(f"  {step}")
    stages = StageTimer()

    def announce(what: str) -> None:
        with stages.stage(what):
            pass  # the display shows the name until the next one

    with progress(enabled=not as_json), dataset(settings, rows, stages) as data:
        lines = measure(data, settings, announce)
    if as_json:
        shown = [dataclasses.asdict(line) | {"within": line.within} for line in lines]
        say_json({"rows": rows, "measured": shown})
        return
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
    show_table(console, ("what", "s", "against", "ratio", "budget", "note"), table)
    if rows < MIN_ROWS_OF_BUDGETS:
        say(f"the budgets hold from {MIN_ROWS_OF_BUDGETS:,} rows on")
