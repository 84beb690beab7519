"""Run `americano mlflow`: MLflow's pages of the recorded analyses."""

import click

from americano_pipelines.cli.exit_codes import FAILED
from americano_pipelines.cli.output import say
from americano_pipelines.cli.services import check_free, listen_to_signals, run_services
from americano_pipelines.settings import load_settings


@click.command()
@click.option("--port", default=5000, type=click.IntRange(1, 65535), show_default=True, help="Port of the server.")
@click.pass_context
def mlflow(context: click.Context, *, port: int) -> None:
    """Start the MLflow server on 127.0.0.1.

    It serves the store that the settings name. If they name a server, its address is printed instead.
    """
    listen_to_signals()
    from americano_pipelines.mlflow_store.client import open_store_to_read
    from americano_pipelines.mlflow_store.data_folder import store_label
    from americano_pipelines.mlflow_store.tracking_errors import is_server
    from americano_pipelines.mlflow_store.tracking_server import HOST, find_experiment, prepare_server, runs_page

    settings = load_settings()
    if is_server(settings.tracking_uri):
        store = open_store_to_read(settings)
        page = runs_page(store.label, store.experiment_id) if store.experiment_id else store.label
        say(f"MLFLOW_TRACKING_URI names a server: {page}")
        return
    check_free(port)
    command, address = prepare_server(settings, port), f"http://{HOST}:{port}"

    def show_address() -> None:
        experiment_id = find_experiment(address, settings.mlflow_experiment_name)
        page = runs_page(address, experiment_id) if experiment_id else f"{address}, no analysis is recorded yet"
        say(f"MLflow on {page}\nrecords: {store_label(settings)}; Ctrl-C stops the server")

    try:
        run_services([command], port=port, on_answer=show_address)
    except KeyboardInterrupt:
        say("the MLflow server has stopped", err=True)
        context.exit(FAILED)
