"""Run `americano sync` and `verify-sync`: the nightly job, and the comparison with the source."""

import dataclasses
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from americano_pipelines.cli.demo import hint, start_if_in_use
from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import Console, progress, say, say_json, show_table
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import Settings, load_settings, unknown_variables

if TYPE_CHECKING:
    from americano_pipelines.defs.sync.launch_sync import Summary
    from americano_pipelines.warehouse.source_comparison import SourceComparison


@click.command("verify-sync")
@click.option("--deep", is_flag=True, help="Compare every row and name the rows that differ.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify_sync(context: click.Context, *, deep: bool, as_json: bool) -> None:
    """Compare the published file with the current source.

    The comparison is by month: rows, times and ids. The exit code is 1 if anything differs.
    """
    from americano_pipelines.warehouse.source_comparison import compare_with_source

    settings = load_settings()
    start_if_in_use(settings)
    with progress("connecting to the source", enabled=not as_json):
        result = compare_with_source(settings, StageTimer(), deep=deep)
    if as_json:
        say_json(dataclasses.asdict(result) | {"clean": result.clean})
    else:
        _show_comparison(result, deep=deep)
    if not result.clean:
        context.exit(FAILED)


def _show_comparison(result: "SourceComparison", *, deep: bool) -> None:
    console = Console(highlight=False)
    if result.compared:
        console.print(f"snapshot {result.snapshot_id}, compared {'row by row' if deep else 'by month'}")
        show_table(console, ("table", "months compared"), list(result.compared.items()))
    for difference in result.differences:
        why = "the source has changed since" if difference.since else "no change in the source explains it"
        console.print(f"[bold red]differs[/] {escape(difference.table)}, {difference.bucket} ({why})")
        console.print(f"  source    {difference.source}\n  published {difference.published}", markup=False)
        for side, name in difference.rows:
            console.print(f"  only in {side:<9} with this content: {name}", markup=False)
    if result.compared and not result.comparable:
        console.print(
            "the source is another database or was set back in time: which changes came after the sync is unknown",
        )
    for name, reason in result.damaged.items():
        console.print(f"[bold red]damaged[/] {escape(f'{name}: {reason}')}")
    for name, reason in result.missing.items():
        console.print(f"[bold red]missing[/] {escape(f'{name}: {reason}')}")
    if result.clean:
        console.print("[green]the published file matches the source[/]")
    elif not result.compared and not result.differences:
        console.print("[bold red]nothing could be compared[/]")
    else:
        console.print("[bold red]the published file differs from the source[/]")
    if result.faults or result.damaged:
        console.print("The published file is not what it was built from. Run `americano sync --full`.")


@click.command()
@click.option("--full", is_flag=True, help="Export and build everything, including what did not change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def sync(context: click.Context, *, full: bool, as_json: bool) -> None:
    """Copy the source into a new published file.

    This runs the nightly job now. The run also appears in the Dagster UI.
    """
    settings = load_settings()
    start_if_in_use(settings)
    for name in unknown_variables():
        say(f"{name} is no setting of this project, and has no effect", err=True)
    summary = run_sync(settings, full=full, quiet=as_json)
    if as_json:
        say_json(summary.as_dict())
    else:
        show(summary)
    if not summary.success:
        say(f"failed: {summary.error}", err=True)
        if advice := hint(settings):
            say(advice, err=True)
        context.exit(WRONG_USE if summary.error_kind == ConfigError.__name__ else FAILED)


def run_sync(settings: Settings, *, full: bool, quiet: bool = False) -> "Summary":
    """Run the job; show progress on a terminal."""
    with progress("loading Dagster", enabled=not quiet):
        from americano_pipelines.defs.sync.launch_sync import run_nightly

        return run_nightly(settings, full=full)


def _built_text(built: str) -> str:
    """How a file was built, in words: a record has `patch: from snapshot ...` or `build: ...`, with the reason."""
    action, _, reason = built.partition(": ")
    return f"a copy with the changes, {reason}" if action == "patch" else f"from nothing: {reason}"


def show(summary: "Summary") -> None:
    """Print what a sync did."""
    console = Console(highlight=False)
    if not summary.success:
        say(f"nothing was published (Dagster run {summary.run_id})", err=True)
        return
    if summary.changed:
        console.print(f"[bold]published[/]: snapshot {summary.snapshot_id} ({summary.mode} mode)")
        console.print(f"  built        {escape(_built_text(str(summary.built)))}")
    else:
        console.print(
            f"[bold]unchanged[/]: the source has not changed since snapshot {summary.snapshot_id} ({summary.mode} "
            "mode), which stays published"
        )
    console.print(f"  source as of {summary.instant}")
    console.print(f"  file         {escape(str(summary.path))}")
    rows = [
        (
            f"analytics.{name}",
            table["rows"],
            table["source_rows"],
            "kept from before" if table["carried_over"] else "changed" if table["changed"] else "unchanged",
        )
        for name, table in summary.tables.items()
    ]
    rows += [(f"research.{name}", count, "", "") for name, count in summary.models.items()]
    show_table(console, ("table", "rows", "source rows", ""), rows)
    # With their schemas: a table and a view of it may bear the same name.
    left_out = {f"analytics.{name}": reason for name, reason in summary.skipped.items()}
    left_out |= {f"research.{name}": reason for name, reason in summary.left_out.items()}
    for name, reason in left_out.items():
        console.print(f"[yellow]skipped[/] {escape(f'{name}: {reason}')}")
    for path in summary.repaired:
        console.print(f"[yellow]repaired[/] {escape(path)}: it was damaged or gone, and is exported again")
    for warning in summary.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}")
    slow = sorted(summary.seconds.items(), key=lambda item: -item[1])[:5]
    took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in slow)
    console.print(f"{sum(summary.seconds.values()):.1f} s ({took}); peak memory {summary.peak_memory_mb} MB")
