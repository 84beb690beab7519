"""Run `americano dev`: start the Dagster UI and daemon, and the API."""

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from americano_pipelines.cli.demo import demo_settings, is_unconfigured
from americano_pipelines.cli.exit_codes import FAILED
from americano_pipelines.cli.output import say
from americano_pipelines.cli.services import check_free, exclusive_lock, listen_to_signals, run_services
from americano_pipelines.errors import LockHeldError
from americano_pipelines.settings import PROJECT_FILES, PROJECT_ROOT, load_settings
from americano_pipelines.settings.environment import ROOT_VARIABLE


@click.command()
@click.option("--port", default=3000, type=click.IntRange(1, 65535), show_default=True, help="Port of the UI.")
@click.option("--api-port", default=8000, type=click.IntRange(1, 65535), show_default=True, help="Port of the API.")
@click.pass_context
def dev(context: click.Context, *, port: int, api_port: int) -> None:
    """Start the Dagster UI and daemon and the API on 127.0.0.1.

    The demo's Postgres is started too if the settings name it.
    """
    listen_to_signals()
    from americano_pipelines.defs.dagster_instance import open_instance
    from americano_pipelines.defs.run_maintenance import reconcile_ended_runs
    from americano_pipelines.defs.run_processes import fail_dead_runs
    from americano_pipelines.demo.server import DemoServer
    from americano_pipelines.mlflow_store.data_folder import check_location

    check_free(port)
    check_free(api_port, "--api-port")
    settings = load_settings()
    check_location(settings)
    if is_unconfigured(settings):
        settings = demo_settings()
    server = DemoServer(settings.paths.root)
    if settings.postgres is not None and settings.postgres.host == server.environment()["PG_HOST"]:
        server.up()
        say(f"demo Postgres is up at {settings.postgres.label}")
    with open_instance(settings) as instance:
        fail_dead_runs(instance)
        reconcile_ended_runs(settings, instance)
    description = f"process {os.getpid()} of {socket.gethostname()}, with its UI on http://127.0.0.1:{port}"
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(exclusive_lock(settings.paths.dev_lock, description))
        except LockHeldError as error:
            # Two daemons on one home would start each scheduled run twice.
            raise click.UsageError(f"`americano dev` runs already on this Dagster home: {error}") from None
        say(f"Dagster on http://127.0.0.1:{port}, home {settings.paths.dagster_home}")
        # Where they start, Dagster's commands let a `.env` win over the environment, so not in the project's folder:
        # the UI would read another source than `americano sync`.
        os.environ[ROOT_VARIABLE] = str(PROJECT_ROOT)
        os.chdir(settings.paths.dagster_home)
        os.environ["DAGSTER_IS_DEV_CLI"] = "1"  # as `dagster dev` does
        if "americano_dagster_url" not in settings.model_fields_set:
            os.environ["AMERICANO_DAGSTER_URL"] = f"http://127.0.0.1:{port}"
        web = [sys.executable, "-m", "americano_pipelines.defs.webserver", "-h", "127.0.0.1", "-p", str(port)]
        daemon = [str(Path(sys.executable).with_name("dagster-daemon")), "run"]
        workspace = ["-w", str(PROJECT_FILES / "workspace.yaml"), "--code-server-log-level", "warning"]
        api = [str(Path(sys.executable).with_name("americano")), "api", "--port", str(api_port)]
        try:
            run_services([[*web, *workspace], [*daemon, *workspace], api], lock=lock, port=port)
        except KeyboardInterrupt:
            say("the UI, the daemon and the API have stopped", err=True)
            context.exit(FAILED)
