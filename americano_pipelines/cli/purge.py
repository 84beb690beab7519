"""`americano purge`: erase a learner from every kept snapshot, after the source has erased them."""

import json

import click
from rich.console import Console

from americano_pipelines.cli.codes import FAILED
from americano_pipelines.cli.progress import progress
from americano_pipelines.cli.sync import run_sync
from americano_pipelines.cli.tables import show_table
from americano_pipelines.settings import load_settings


@click.command()
@click.option("--learner", required=True, help="The learner's id, as the source writes it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed: no sync, nothing removed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def purge(context: click.Context, *, learner: str, dry_run: bool, as_json: bool) -> None:
    """Remove every kept snapshot that holds a learner, or may.

    First comes a full sync: the published file is then built from nothing, out of rows that the source has now.
    When the learner is still in it nothing is removed, and the exit code is 1.
    """
    settings = load_settings()
    if not dry_run:
        summary = run_sync(settings, full=True, quiet=as_json)
        if not summary.success:
            click.echo(f"nothing was purged, for the sync before it failed: {summary.error}", err=True)
            context.exit(FAILED)
    from americano_pipelines.lock import writer_lock
    from americano_pipelines.warehouse.purge import condemned, remove, still_there

    with progress(enabled=not as_json), writer_lock(settings):
        present = still_there(settings, learner)
        found = condemned(settings, learner)
        removed = [] if present or dry_run else found
        for one in removed:
            remove(settings, one)
    shown = [{"what": one.what, "bytes": one.bytes, "reason": one.reason} for one in found]
    if as_json:
        report = {"still_there": present, "found": shown, "removed": [one.what for one in removed]}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        console = Console(highlight=False)
        if found:
            title = "removed" if removed else "would be removed" if dry_run else "not removed"
            rows = [(one.what, one.bytes, one.reason) for one in found]
            show_table(console, ("snapshot", "bytes", "why"), rows, title=f"[bold]{title}[/]")
        else:
            console.print("no kept snapshot holds this learner, or may")
        for place, rows_there in present.items():
            console.print(f"[bold red]still there[/] {place}: {rows_there:,} rows", soft_wrap=True)
    if present:
        click.echo("the source still has this learner: erase them there, then purge again", err=True)
        context.exit(FAILED)
