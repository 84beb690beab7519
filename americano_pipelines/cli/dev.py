"""`americano dev`: the Dagster UI and daemon on this machine."""

import os
import socket
import sys

import click

from americano_pipelines.cli.demo import demo_settings, is_unconfigured
from americano_pipelines.settings import PROJECT_ROOT, load_settings


@click.command()
@click.option(
    "--port", default=3000, type=click.IntRange(1, 65535), show_default=True, help="Port of the UI on 127.0.0.1."
)
def dev(*, port: int) -> None:
    """Start the Dagster UI and daemon on 127.0.0.1, and the demo's Postgres if the settings point at it."""
    from americano_pipelines.defs.instance import open_instance
    from americano_pipelines.demo.server import DemoServer

    _check_free(port)
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


def _check_free(port: int) -> None:
    """Refuse a port that is taken: Dagster's web server would end there, and its daemon run on without it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the web server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise click.UsageError(
                f"127.0.0.1:{port} cannot be used ({error.strerror}); choose another --port"
            ) from None
