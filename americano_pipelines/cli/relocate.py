"""Run `americano relocate`: update MLflow's records after the data folder was moved or copied."""

from dataclasses import asdict

import click

from americano_pipelines.cli.output import Console, say, say_json, show_table
from americano_pipelines.settings import load_settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def relocate(*, dry_run: bool, as_json: bool) -> None:
    """Update MLflow's file addresses after the data folder moved.

    Run it once after the data folder was moved or copied. Only the MLflow database inside the data folder is changed,
    never one that MLFLOW_TRACKING_URI names.
    """
    from americano_pipelines.mlflow_store.data_folder import artifacts_uri, is_default_database, store_label
    from americano_pipelines.mlflow_store.data_folder import relocate as rewrite

    settings = load_settings()
    rebased = rewrite(settings, dry_run=dry_run)
    present = artifacts_uri(settings.paths)
    if as_json:
        say_json({"artifacts": present, "dry_run": dry_run, "rewritten": [asdict(item) for item in rebased]})
        return
    if not is_default_database(settings):
        say(f"nothing to do: records go to {store_label(settings)}, which does not move with the data folder")
        return
    if not rebased:
        say(f"nothing to do: every address in MLflow's records of {settings.paths.root} is right")
        return
    console = Console(highlight=False)
    rows = [(f"{item.table}.{item.column}", item.former, item.rows) for item in rebased]
    title = f"[bold]{'would be rewritten' if dry_run else 'rewritten'}[/] to {present}"
    show_table(console, ("column", "former address", "rows"), rows, title=title, max_rows=len(rows))
