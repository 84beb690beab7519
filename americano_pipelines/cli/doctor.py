"""`americano doctor`: what is configured and what is reachable, one line each."""

import click

from americano_pipelines.cli.demo import hint, start_if_in_use
from americano_pipelines.cli.tables import Console
from americano_pipelines.settings import load_settings

_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}


@click.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Print what is configured (secrets redacted) and what is reachable; fail when the mode cannot work."""
    from americano_pipelines.diagnosis import examine

    settings = load_settings()
    start_if_in_use(settings)
    console = Console(highlight=False)
    for name, value in settings.redacted().items():
        console.print(f"     {name} = {value}", soft_wrap=True, markup=False)
    findings = examine(settings)
    for finding in findings:
        label = f"[{_STYLES[finding.level]}]{finding.level:<4}[/]"
        console.print(label, end=" ")
        console.print(f"{finding.what}: {finding.found}", soft_wrap=True, markup=False)
    if advice := hint(settings):
        console.print(f"     {advice}", soft_wrap=True)
    if any(finding.level == "FAIL" for finding in findings):
        context.exit(1)
