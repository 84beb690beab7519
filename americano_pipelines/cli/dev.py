"""`americano dev`: the Dagster UI and daemon on this machine."""

import os
import sys

import click

from americano_pipelines.cli.demo import demo_settings, is_unconfigured
from americano_pipelines.settings import PROJECT_ROOT, load_settings


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the UI on 127.0.0.1.")
def dev(*, port: int) -> None:
    """Start the Dagster UI and daemon on 127.0.0.1, and the demo's Postgres if the settings point at it."""
    from americano_pipelines.defs.instance import open_instance
    from americano_pipelines.demo.server import DemoServer

    settings = load_settings()
    if is_unconfigured(settings):
        settings = demo_settings()
    server = DemoServer(settings.data_dir)
    if settings.postgres is not None and settings.postgres.host == server.environment()["PG_HOST"]:
        server.up()
        click.echo(f"demo Postgres is up at {settings.postgres.label}")
    with open_instance(settings):
        pass
    click.echo(f"Dagster on http://127.0.0.1:{port}, home {settings.dagster_dir}")
    os.chdir(PROJECT_ROOT)
    arguments = ["-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - the interpreter we run in, no shell
