"""`americano link`: write a recorded analysis into the app after all."""

import click

from americano_pipelines.cli.codes import WRONG_USE
from americano_pipelines.settings import load_settings


@click.command()
@click.argument("run")
@click.pass_context
def link(context: click.Context, run: str) -> None:
    """Complete the app's AnalysisRun row of a recorded analysis, or make it where there is none.

    RUN is an MLflow run, an AnalysisRun of the app, or the hash of a record, of which 8 digits are enough. The sensor
    run_outcome does the same for what it finds unlinked.
    """
    from americano_pipelines.tracking.repair import repair

    settings = load_settings()
    if settings.app is None:
        click.echo("there is no app to link to: set ANALYSIS_RUNS_DATABASE_URL", err=True)
        context.exit(WRONG_USE)
    found = repair(settings, settings.app, run)
    click.echo(
        f"record {found.sha256[:12]}: row {found.analysis_run_id} of the app {'made' if found.made else 'completed'}; "
        f"written: {', '.join(found.columns)}"
    )
